"""What the comments of `tables.py` say of columns, for those who look at a table and not at the source.

The comments stay where the schemas are read and changed; a field's own metadata would be written into every Parquet
file and so into the checksums of versions.
"""

import ast
import inspect
import tokenize
from collections.abc import Mapping
from functools import cache
from io import StringIO

from pipelines import tables


@cache
def column_comments() -> Mapping[str, Mapping[str, str]]:
    """Table of `SCHEMAS` -> column -> the comment behind it, for the columns that have one."""
    source = inspect.getsource(tables)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {
        key.value: {
            column.arg: comments[column.value.end_lineno]
            for column in call.keywords
            if column.value.end_lineno in comments
        }
        for key, call in _schema_calls(ast.parse(source))
    }
    by_schema = {id(tables.SCHEMAS[name]): columns for name, columns in found.items() if name in tables.SCHEMAS}
    return {name: by_schema[id(schema)] for name, schema in tables.SCHEMAS.items()}


def _schema_calls(module: ast.Module) -> list[tuple[ast.Constant, ast.Call]]:
    """The entries `"table": _schema(...)` of the module's dictionaries."""
    return [
        (key, call)
        for one in ast.walk(module)
        if isinstance(one, ast.Dict)
        for key, call in zip(one.keys, one.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(call, ast.Call)
    ]
