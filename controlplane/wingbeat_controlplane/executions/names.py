"""Names of executions. Names of pods, processes and nested nodes are built on them, hence the narrow form."""

import re
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from wingbeat_controlplane.errors import invalid_argument

NAME_LENGTH_MAX = 63
GENERATED_LENGTH = 20
RANDOM_BYTES = GENERATED_LENGTH - 1
"""What a generated name takes."""

_FORM = re.compile(r"[a-z][a-z\-0-9]*")
_ALPHABET = b"bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that no word appears by chance, and nothing that reads like something else."""
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


class ExecutionName(NamedTuple):
    """An execution's id, in the order of the columns."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        """As one word of a sentence."""
        return f"{self.project}:{self.domain}:{self.name}"


def check_name(name: str) -> None:
    """A name that a caller chose: a letter, then letters, digits and dashes, NAME_LENGTH_MAX at most.

    Upper case passes, as in Flyte v1. Raises ApiError INVALID_ARGUMENT.
    """
    if len(name) > NAME_LENGTH_MAX:
        raise invalid_argument(f"size of name exceeded length {NAME_LENGTH_MAX} : {name[:100]}")
    if not _FORM.fullmatch(name.lower()) or not name.isascii():
        raise invalid_argument(f"invalid name format: {name}; letters, digits and dashes after a letter are expected")


def generated_name() -> str:
    """A new name: `a` and random characters. Its length counts: ids of nested nodes are cut at the same one."""
    return name_of(secrets.token_bytes(RANDOM_BYTES))


def generated_names(count: int) -> Iterator[str]:
    """As many of them, for less than one at a time."""
    chance = secrets.token_bytes(count * RANDOM_BYTES)
    return (name_of(chance[begin : begin + RANDOM_BYTES]) for begin in range(0, len(chance), RANDOM_BYTES))


def name_of(data: bytes) -> str:
    """The name that 19 random bytes, or the first of a digest, are; that letters are not quite equally frequent does no
    harm."""
    return f"a{data[:RANDOM_BYTES].translate(_LETTERS).decode('ascii')}"
