"""Names and ids that other programs can compute too; the rules are Flyte v1's, so clients and task containers agree."""

import base64
import hashlib
from collections.abc import Iterable
from typing import NewType

ExecutionKey = NewType("ExecutionKey", int)
"""Row id of an execution."""

NodeId = NewType("NodeId", str)
"""Unique node id inside one execution, nested frames included."""

SHARDS = 256
"""Number of virtual shards executions hash onto; part of the schema."""

NODE_ID_LENGTH_MAX = 20
GENERATED_NAME_LENGTH_MAX = 50

_FNV = {32: (0x811C9DC5, 0x01000193), 64: (0xCBF29CE484222325, 0x100000001B3)}
_ALPHABET = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"abcdefghijklmnopqrstuvwxyz123456")
_SHARD_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def fnv1a(data: bytes, bits: int) -> int:
    """FNV-1a hash of `data`; `bits` is 32 or 64."""
    value, prime = _FNV[bits]
    mask = (1 << bits) - 1
    for byte in data:
        value = ((value ^ byte) * prime) & mask
    return value


def fixed_length(text: str, length_max: int, bits: int = 32) -> str:
    """`text` itself when short enough, else `f` and the base32 of its FNV-1a hash."""
    if len(text) <= length_max:
        return text
    digest = base64.b32encode(fnv1a(text.encode(), bits).to_bytes(bits // 8, "big")).rstrip(b"=")
    return "f" + digest.translate(_ALPHABET).decode()


def join(parts: Iterable[str]) -> str:
    """Parts joined by dashes; leading empty parts vanish, later ones leave their dash."""
    text = ""
    for part in parts:
        text = f"{text}-{part}" if text else part
    return text


def unique_node_id(parent_id: str | None, parent_attempt: int, node_id: str, bits: int = 32) -> NodeId:
    """Id of a node in its execution: the spec id at top level, prefixed by parent id and attempt below.

    `bits` is 64 where there may be so many nodes that two of them would share a hash of 32.
    """
    text = node_id if parent_id is None else join((parent_id, str(parent_attempt), node_id))
    return NodeId(fixed_length(text, NODE_ID_LENGTH_MAX, bits))


def element_name(array_generated_name: str, element: int, attempt: int) -> str:
    """What containers and clients know one attempt of an element of an array node by.

    It follows the array's own name without another hash, so no two elements share one.
    """
    return f"{array_generated_name}-n{element}-{attempt}"


def generated_name(execution_name: str, node_id: str, attempt: int) -> str:
    """Flyte's name of one attempt of a node; unique among the executions of one project and domain, but for hashes."""
    return fixed_length(join((execution_name, node_id, str(attempt))), GENERATED_NAME_LENGTH_MAX)


def attempt_name(execution: ExecutionKey, generated: str) -> str:
    """Name of what runs one attempt (process folder), unique in the installation: executions of two domains may have
    one name, and long names end in a short hash. Deterministic, so launching twice is harmless."""
    digits = ""
    number = int(execution)
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return f"{generated}-{digits or '0'}"


def child_execution_name(execution_name: str, node_id: str, attempt: int) -> str:
    """Name of the execution that a launch plan node makes."""
    return fixed_length(join((execution_name, node_id, str(attempt))), NODE_ID_LENGTH_MAX, bits=64)


def raw_output_shard(name: str) -> str:
    """Two characters that spread raw outputs over key ranges of an object store."""
    index = fnv1a(name.encode(), 32) % len(_SHARD_CHARACTERS) ** 2
    return _SHARD_CHARACTERS[index // 36] + _SHARD_CHARACTERS[index % 36]


def shard_of(project: str, domain: str, name: str) -> int:
    """Shard of an execution, 0 to SHARDS - 1; the same in every process and release."""
    return hashlib.blake2b(f"{project}:{domain}:{name}".encode(), digest_size=2).digest()[0]
