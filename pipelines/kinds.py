"""Which values of a user's file can stand for a column's kind: in words, as an Arrow type, and one JSON value.

Kinds are the Arrow types that curations declare: string, int64, float64, bool, and lists, structs and maps of them.
Only what does not change a value's meaning is taken: an integer as text, true as 1.0, 3.0 as an integer; never text as
a number.
"""

from collections.abc import Callable

import pyarrow as pa

types = pa.types


class Misfit(ValueError):
    """A JSON value that is not of the kind; only `reader` raises it, and its callers catch it."""


def words(kind: pa.DataType, is_nullable: bool = True) -> str:
    """What a column's values must be: `a list of numbers, or null`."""
    text = _words(kind)
    if not is_nullable:
        return text
    return f"{text} or null" if types.is_primitive(kind) else f"{text}, or null"


def _words(kind: pa.DataType) -> str:
    if types.is_list(kind):
        return f"a list of {_plural(kind.value_type)}"
    if types.is_struct(kind):
        return f"an object with {', '.join(field.name for field in kind)}"
    if types.is_map(kind):
        return f"an object of {_plural(kind.item_type)}"
    if types.is_boolean(kind):
        return "true or false"
    if types.is_integer(kind):
        return "an integer"
    return "a number, true, false" if types.is_floating(kind) else "text or an integer"


def _plural(kind: pa.DataType) -> str:
    if types.is_list(kind):
        return f"lists of {_plural(kind.value_type)}"
    if types.is_struct(kind) or types.is_map(kind):
        return "objects"
    names = ((types.is_boolean, "truth values"), (types.is_integer, "integers"), (types.is_floating, "numbers"))
    return next((name for is_kind, name in names if is_kind(kind)), "texts")


def fits(kind: pa.DataType, given: pa.DataType) -> bool:
    """Whether an Arrow column of a file can be cast to the kind without a change of meaning."""
    if types.is_null(given):
        return True
    if types.is_dictionary(given):
        return fits(kind, given.value_type)
    if types.is_list(kind):
        is_list = types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given)
        return is_list and _is_element(kind.value_type, given.value_type)
    if types.is_struct(kind):
        names = {field.name for field in given} if types.is_struct(given) else set()
        return names == set(kind.names) and all(fits(field.type, given.field(field.name).type) for field in kind)
    if types.is_map(kind):
        return types.is_map(given) and _is_element(kind.item_type, given.item_type)
    if types.is_boolean(kind):
        return types.is_boolean(given)
    is_number = types.is_integer(given) or types.is_floating(given)
    if types.is_integer(kind):
        return is_number
    if types.is_floating(kind):
        return is_number or types.is_boolean(given) or types.is_decimal(given)
    is_text = types.is_string(given) or types.is_large_string(given) or types.is_string_view(given)
    return is_text or types.is_integer(given)


def _is_element(kind: pa.DataType, given: pa.DataType) -> bool:
    """Inside of a list `true` is no number: a list of them is no list of scores."""
    return fits(kind, given) and not (types.is_floating(kind) and types.is_boolean(given))


def reader(kind: pa.DataType) -> Callable[[object], object]:
    """The function that puts one JSON value (null included) into the kind; it raises Misfit."""
    if types.is_list(kind):
        return _list_reader(kind)
    if types.is_struct(kind):
        return _struct_reader(kind)
    if types.is_map(kind):
        return _map_reader(kind)
    if types.is_boolean(kind):
        return _boolean
    if types.is_integer(kind):
        return _integer
    return _number if types.is_floating(kind) else _text


def _list_reader(kind: pa.DataType) -> Callable[[object], object]:
    read = _strict_number if types.is_floating(kind.value_type) else reader(kind.value_type)

    def read_list(value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, list):
            raise Misfit
        return [read(item) for item in value]

    return read_list


def _struct_reader(kind: pa.DataType) -> Callable[[object], object]:
    readers = {field.name: reader(field.type) for field in kind}

    def read_struct(value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, dict) or not set(value) <= set(readers):
            raise Misfit
        return {name: read(value.get(name)) for name, read in readers.items()}

    return read_struct


def _map_reader(kind: pa.DataType) -> Callable[[object], object]:
    read = _strict_number if types.is_floating(kind.item_type) else reader(kind.item_type)

    def read_map(value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Misfit
        return [(key, read(item)) for key, item in value.items()]

    return read_map


def _text(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Misfit


def _number(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, int | float):
        return _finite_float(value)
    raise Misfit


def _strict_number(value: object) -> object:
    if isinstance(value, bool):
        raise Misfit
    return _number(value)


def _finite_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:  # an integer of more than 308 digits
        raise Misfit from error


def _integer(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value % 1:
        raise Misfit
    if not -(2**63) <= value < 2**63:
        raise Misfit
    return int(value)


def _boolean(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    raise Misfit
