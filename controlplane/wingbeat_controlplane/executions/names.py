"""Names of executions. Names of pods, processes and nested nodes are built on them, hence the narrow form."""

import re
import secrets

from wingbeat_controlplane.errors import invalid_argument

NAME_LENGTH_MAX = 63
GENERATED_LENGTH = 20

_FORM = re.compile(r"[a-z][a-z\-0-9]*")
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that no word appears by chance, and nothing that reads like something else."""


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
    return name_of(secrets.token_bytes(GENERATED_LENGTH - 1))


def name_of(data: bytes) -> str:
    """The name that 19 random bytes, or the first of a digest, are; that letters are not quite equally frequent does no
    harm."""
    return "a" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in data[: GENERATED_LENGTH - 1])
