"""Values of JSON as YAML, for people: block style, strings in quotes where YAML would take them for something else."""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

import json
import re
from collections.abc import Iterator

_PLAIN = re.compile(r"[A-Za-z_/][\w./@ -]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def to_yaml(value: object) -> str:
    """The text, with a line break at its end."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: object, indent: str = "") -> Iterator[str]:
    match value:
        case dict() if value:
            for key, one in value.items():
                yield from _entry(f"{indent}{_scalar(str(key))}:", one, f"{indent}  ")
        case list() if value:
            for one in value:
                inner = list(_lines(one, f"{indent}  "))
                yield f"{indent}- {inner[0].lstrip()}"
                yield from inner[1:]
        case _:
            yield f"{indent}{_scalar(value)}"


def _entry(head: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: object) -> str:
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS and value == value.strip()
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
