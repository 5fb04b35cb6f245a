"""`key=value` texts of a command line as a method's parameters."""

import difflib
import json
import types
import typing
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from pipelines.config import allowed_values
from pipelines.errors import ApplyError

COLLECTIONS = (tuple, list, dict, set, frozenset)


def params_from_texts(name: str, model: type[BaseModel], settings: Mapping[str, str]) -> BaseModel:
    """The method's parameters; ApplyError names what is no parameter, and what a parameter may be.

    Lists and tables are written as JSON (`[0.5, 1.0]`), a list of words or numbers also with commas alone; `none` is
    no value where a parameter may have none.
    """
    fields = model.model_fields
    for key in settings:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=3, cutoff=0.4) or list(fields)
            hint = f"Did you mean {', '.join(near)}?" if near else "It has none."
            raise ApplyError(f"{name} has no parameter `{key}`. {hint}")
    given = {key: _value(fields[key].annotation, text) for key, text in settings.items()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _explained(name, model, settings, error) from None


def _value(annotation: object, text: str) -> object:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "null") and type(None) in arguments:
            return None
        return _value(next(kind for kind in arguments if kind is not type(None)), text)
    if origin in COLLECTIONS or annotation in COLLECTIONS:
        try:
            return json.loads(text)
        except ValueError:
            return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _explained(name: str, model: type[BaseModel], settings: Mapping[str, str], error: ValidationError) -> ApplyError:
    first = error.errors()[0]
    if not first["loc"]:
        return ApplyError(f"{name}: {first['msg'].removeprefix('Value error, ')}.")
    key = str(first["loc"][0])
    allowed = allowed_values(model.model_fields[key])
    if first["type"] == "missing":
        return ApplyError(f"{name} needs --set {key}=VALUE; {key} is {allowed}: {model.model_fields[key].description}.")
    return ApplyError(f"{name}: {key}={settings[key]} is not possible; {key} is {allowed}.")
