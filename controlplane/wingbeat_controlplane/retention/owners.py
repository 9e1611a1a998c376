"""To whom a blob belongs, by its key: the rules by which Wingbeat names what it writes. Pure.

A reference to anything inside of a folder of an owner keeps the whole folder. So what is found in serialized values by
looking for the store's address need not be cut at the right end, and nothing that is needed is taken for garbage.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

REFERENCE_BYTES_MAX = 2_048
"""Longest URI that is looked at; keys have at most 1,024 bytes."""


class OwnerKind(Enum):
    """Who writes there."""

    RAW = "data"
    """An attempt, by its generated name."""
    METADATA = "metadata/propeller"
    """An execution: inputs and outputs of its nodes."""
    ADMIN = "metadata/admin"
    """A launch with large inputs, or an upload."""
    CACHE = "cache"
    """An entry of the cache."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a blob belongs to: `folder` below the store (of a cache entry: the object), `name` of the last part."""

    kind: OwnerKind
    folder: str
    name: str


_DEPTHS = {OwnerKind.RAW: 3, OwnerKind.METADATA: 3, OwnerKind.ADMIN: 5, OwnerKind.CACHE: 3}
"""Parts of an owner's folder."""
_AFTER_URI = re.compile('[\x00-\x20"\ufffd]')
"""What ends a URI in serialized values, as far as the parts of an owner's folder go: those hold none of it."""

_NAME = re.compile(r"[\w.-]{1,255}")
"""Names of owners that need not be looked at twice."""


def owner_of(key: str) -> Owner | None:
    """The owner of the object with this key; None for what Wingbeat has not named, which is never garbage."""
    if "\0" in key:  # no store has such a key: it was cut out of something else
        return None
    for kind, depth in _DEPTHS.items():
        if key.startswith(f"{kind.value}/"):
            parts = key.split("/")
            is_deep = len(parts) > depth or (kind is OwnerKind.CACHE and len(parts) == depth)
            if not is_deep or not all(parts[:depth]):
                return None
            return Owner(kind, "/".join(parts[:depth]), parts[depth - 1])
    return None


def references(data: bytes, base: bytes) -> Iterator[str]:
    """Folders of owners that serialized values refer to. `base` is the store's address with a slash at the end."""
    place = data.find(base)
    while place >= 0:
        start = place + len(base)
        text = data[start : start + REFERENCE_BYTES_MAX].decode("utf-8", errors="replace")
        uri = _AFTER_URI.split(text, maxsplit=1)[0]
        owner = owner_of(f"{uri}/")
        if owner is not None:
            yield owner.folder
            if len(uri) <= len(owner.folder) + 1 or not _NAME.fullmatch(owner.name):
                # The URI of the folder itself: what serialization puts behind it may look like more of its name.
                shortest = len(owner.folder) - len(owner.name) + 1
                yield from (owner.folder[:end] for end in range(shortest, len(owner.folder)))
        place = data.find(base, start)


def belongs_to_project(owner: Owner, project: str) -> bool | None:
    """Whether it is of that project; None when its name does not tell (raw data, the cache)."""
    match owner.kind:
        case OwnerKind.METADATA:
            return owner.name.startswith(f"{project}-")
        case OwnerKind.ADMIN:
            return owner.folder.split("/")[2] == project
        case _:
            return None


def execution_names(generated: str) -> list[str]:
    """Names of executions that an attempt with this generated name may be of."""
    parts = generated.split("-")
    return ["-".join(parts[:count]) for count in range(1, len(parts))]


def array_name(generated: str) -> str:
    """Generated name of the array that the attempt belongs to if it is one of an element; its own if it cannot be."""
    head, _, attempt = generated.rpartition("-")
    array, _, element = head.rpartition("-")
    is_element = array and attempt.isdigit() and element[:1] == "n" and element[1:].isdigit()
    return array if is_element else generated
