"""Plain values as YAML in block style, for programs that read `inputs.yaml` line by line.

Text that YAML could take for something else, or that has odd characters, is quoted as in JSON, which YAML reads too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_MEANS_SOMETHING = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})


def yaml_text(value: object) -> str:
    """A document of maps, sequences, strings, numbers, booleans and None; maps in order of their keys."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in sorted(cast("Mapping[str, object]", value).items()):
            yield from _entry(f"{_scalar(key)}:", item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for item in cast("Sequence[object]", value):
            yield from _entry("-", item)
    else:
        yield _scalar(cast("object", value))


def _entry(head: str, item: object) -> Iterator[str]:
    if isinstance(item, Mapping | Sequence) and not isinstance(item, str) and item:
        yield head
        for line in _lines(cast("object", item)):
            yield f"  {line}"
    else:
        yield f"{head} {_scalar(cast('object', item))}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _MEANS_SOMETHING:
        return value
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text:
        text = text.replace("e", ".0e")  # without a point many readers take it for text
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    """What may not stand in a YAML document; JSON escapes only a part of it."""
    return character if character.isprintable() else f"\\U{ord(character):08x}"
