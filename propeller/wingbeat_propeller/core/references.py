"""What a value is known by outside of the execution that made it: blobs that it refers to, the hash that it carries.

Asked for every output of every task, so the answer for most values, that there is nothing, must cost next to nothing:
types say where a blob may stand, and a hash announces itself by a byte. Inside of dataclasses and dicts a file is what
flytekit writes for one: a map with its URI under a certain key. Tokens are texts, `uri:s3://b/k` or `hash:abc`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import msgpack
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.rows import LineageKind, LineageRow
from wingbeat_propeller.core.values import Value

TOKENS_MAX = 1_000
"""Tokens kept of one output; a list of more files is known by the first ones."""
TOKEN_LENGTH_MAX = 4_096
"""Longer ones are not kept."""
_HASH_TAG = b"\x22"
"""How the field `hash` of a serialized Literal begins."""
_FILE_KEYS = ("path", "uri", "remote_path")
"""What flytekit calls the URI of a file or folder, a dataset and a schema inside of a dataclass or dict."""
_FILE_WORDS = (b"path", b"uri")
_MSGPACK = "msgpack"
_unpack = cast("Callable[..., object]", msgpack.unpackb)  # the package carries no types


def may_refer(literal_type: types_pb2.LiteralType) -> bool:
    """Whether values of this type may refer to blobs."""
    match literal_type.WhichOneof("type"):
        case "blob" | "schema" | "structured_dataset_type":
            return True
        case "simple" if literal_type.simple == types_pb2.STRUCT:
            # A dataclass comes with its JSON schema, which has the keys of what flytekit writes for a file.
            schema = literal_type.metadata.SerializeToString()
            return not schema or _has_file_key(schema)
        case "collection_type":
            return may_refer(literal_type.collection_type)
        case "map_value_type":
            return may_refer(literal_type.map_value_type)
        case "union_type":
            return any(may_refer(variant) for variant in literal_type.union_type.variants)
        case _:
            return False


def record_outputs(
    effects: Effects, node_id: str, outputs: Mapping[str, Value], referring: frozenset[str], stored: tuple[str, ...]
) -> None:
    """Note what the outputs of a task are known by. `referring` are those whose type may refer to blobs; `stored` has
    `var`, token, `var`, token ... of those that are not at hand."""
    for var, literal in outputs.items():
        if type(literal) is bytes and (var in referring or _HASH_TAG in literal):
            for token in tokens_of(literal):
                effects.lineage.append(LineageRow(LineageKind.MADE, effects.execution, node_id, 0, var, token))
    if not stored:
        return
    for var, token in zip(stored[::2], stored[1::2], strict=True):
        effects.lineage.append(LineageRow(LineageKind.MADE, effects.execution, node_id, 0, var, token))


def tokens_of(literal: bytes) -> list[str]:
    """Tokens of a serialized Literal, each once; none for bytes that are no Literal."""
    try:
        return message_tokens(literals_pb2.Literal.FromString(literal))
    except DecodeError:
        return []


def message_tokens(literal: literals_pb2.Literal) -> list[str]:
    """Tokens of a Literal, each once and no more than TOKENS_MAX, in its order."""
    found: dict[str, None] = {}
    for token in _walk(literal):
        if len(token) <= TOKEN_LENGTH_MAX and "\0" not in token:
            found[token] = None
            if len(found) == TOKENS_MAX:
                break
    return list(found)


def uri_token(uri: str) -> str:
    """The token of a blob. A folder is the same with and without a slash at its end."""
    return f"uri:{uri.rstrip('/')}"


def _walk(literal: literals_pb2.Literal) -> Iterator[str]:
    stack = [literal]
    while stack:
        one = stack.pop()
        if one.hash:
            yield f"hash:{one.hash}"
        match one.WhichOneof("value"):
            case "scalar":
                if one.scalar.WhichOneof("value") == "union":
                    stack.append(one.scalar.union.value)
                for uri in _uris(one.scalar):
                    yield uri_token(uri)
            case "collection":
                stack.extend(reversed(one.collection.literals))
            case "map":
                stack.extend(one.map.literals[key] for key in sorted(one.map.literals, reverse=True))
            case _:
                pass


def _uris(scalar: literals_pb2.Scalar) -> Iterator[str]:
    match scalar.WhichOneof("value"):
        case "blob" if scalar.blob.uri:
            yield scalar.blob.uri
        case "schema" if scalar.schema.uri:
            yield scalar.schema.uri
        case "structured_dataset" if scalar.structured_dataset.uri:
            yield scalar.structured_dataset.uri
        case "generic" | "binary":
            try:
                yield from _uris_inside(_plain(scalar))
            except (ValueError, TypeError, msgpack.exceptions.UnpackException, json_format.Error):
                return  # whoever needs the value will say what is wrong with it
        case _:
            return


def _plain(scalar: literals_pb2.Scalar) -> object:
    """What stands in a dataclass or dict; None where there is no file for certain."""
    if scalar.WhichOneof("value") == "generic":
        return json_format.MessageToDict(scalar.generic)
    binary = scalar.binary
    is_of_interest = binary.tag == _MSGPACK and _has_file_key(binary.value)
    return _unpack(binary.value, strict_map_key=False) if is_of_interest else None


def _has_file_key(data: bytes) -> bool:
    return any(word in data for word in _FILE_WORDS)


def _uris_inside(value: object) -> Iterator[str]:
    """URIs of files inside of a plain value, in its order."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            entries = cast("dict[object, object]", one)
            for key in _FILE_KEYS:
                uri = entries.get(key)
                if isinstance(uri, str) and ("://" in uri or uri.startswith("/")):
                    yield uri
            stack.extend(reversed(entries.values()))
        elif isinstance(one, list):
            stack.extend(reversed(cast("list[object]", one)))
