"""PURE: the hash that Flyte's cache keys are made of: SHA-256 over the JSON form of a message, whatever the order of
its objects' members.

Every value is hashed by itself with a letter for its kind in front, so two different values never have one text:
`n` null, `b` boolean, `f` number, `u` text, `l` list of the members' digests, `d` object of pairs of digests, sorted.
Source: contract CP §13.2; it is Ben Laurie's "objecthash" as Flyte v1 calls it.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias, cast

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_MANTISSA_BITS = 53

NULL = hashlib.sha256(b"n").digest()
FALSE = hashlib.sha256(b"b0").digest()
TRUE = hashlib.sha256(b"b1").digest()
EMPTY_OBJECT = hashlib.sha256(b"d").digest()


def message_hash(message: Message) -> bytes:
    """32 bytes, the same for equal messages. Raises ValueError for what has no JSON form (a NaN in a Struct)."""
    try:
        return object_hash(cast("Json", MessageToDict(message)))
    except Exception as error:
        if type(error).__module__.startswith("google.protobuf"):  # SerializeToJsonError derives from Exception alone
            raise ValueError(f"{message.DESCRIPTOR.full_name} has no JSON form: {error}") from error
        raise


def object_hash(value: Json) -> bytes:
    """Digest of a JSON value, 32 bytes."""
    match value:
        case None:
            return NULL
        case bool():
            return TRUE if value else FALSE
        case int() | float():
            return number_hash(float(value))
        case str():
            return text_hash(value)
        case Mapping():
            return pairs_hash((name_hash(name), object_hash(member)) for name, member in value.items())
        case _:
            return members_hash(object_hash(member) for member in value)


def text_hash(text: str) -> bytes:
    """Digest of a text."""
    return hashlib.sha256(b"u" + text.encode()).digest()


name_hash = lru_cache(maxsize=4096)(text_hash)
"""Digest of a text that comes often: the name of a field or of a variable."""


def number_hash(number: float) -> bytes:
    """Digest of a number as JSON has them; integers are the same as floats."""
    return hashlib.sha256(b"f" + _normal(number)).digest()


def members_hash(digests: Iterable[bytes]) -> bytes:
    """Digest of a list with these digests of its members."""
    return hashlib.sha256(b"l" + b"".join(digests)).digest()


def pairs_hash(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Digest of an object with these digests of names and values."""
    return hashlib.sha256(b"d" + b"".join(sorted([name + value for name, value in pairs]))).digest()


def member_hash(name: bytes, value: bytes) -> bytes:
    """Digest of an object with one member, by the digests of its name and value."""
    return hashlib.sha256(b"d" + name + value).digest()


def struct_hash(struct: struct_pb2.Struct) -> bytes:
    """Digest of a Struct, which JSON knows as a plain object."""
    return pairs_hash((name_hash(name), _value_hash(value)) for name, value in struct.fields.items())


def text_of(digest: bytes) -> str:
    """A digest in the URL-safe alphabet without padding, as it stands in tags."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _value_hash(value: struct_pb2.Value) -> bytes:
    match value.WhichOneof("kind"):
        case "string_value":
            return text_hash(value.string_value)
        case "number_value":
            return number_hash(value.number_value)
        case "bool_value":
            return TRUE if value.bool_value else FALSE
        case "struct_value":
            return struct_hash(value.struct_value)
        case "list_value":
            return members_hash(_value_hash(member) for member in value.list_value.values)
        case _:
            return NULL


def _normal(number: float) -> bytes:
    """Sign, exponent and binary digits of a number: `<sign><e>:<digits>` with |number| = 2^e * x, 0.5 < x <= 1."""
    if number == 0:
        return b"+0:"
    if not math.isfinite(number):
        return b"NaN" if math.isnan(number) else b"Infinity" if number > 0 else b"-Infinity"
    fraction, exponent = math.frexp(abs(number))
    sign = "+" if number > 0 else "-"
    if fraction == 0.5:
        return f"{sign}{exponent - 1}:1".encode()
    digits = format(int(math.ldexp(fraction, _MANTISSA_BITS)), "b").rstrip("0")
    return f"{sign}{exponent}:0{digits}".encode()
