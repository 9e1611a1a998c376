"""How the inputs of a raw container become files; pure: nothing is read or written here.

A literal under `var` becomes the file or folder `var`; what its content is goes by the kind of the literal, as in Flyte
v1. Names of variables and keys of maps are names of files; one that cannot be is percent-encoded where needed.
"""

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format

from wingbeat_propeller.copilot import values_text

NAME_BYTES_MAX = 255


class UnsupportedLiteralError(ValueError):
    """A literal cannot be given as a file; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One object (or all objects below a folder) to be copied to `path`, relative to the folder of the inputs."""

    uri: str
    path: str
    is_folder: bool


@dataclass(slots=True)
class Layout:
    """What to put into the folder of the inputs. Paths are relative to it."""

    texts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Content of small files."""
    folders: list[str] = field(default_factory=list[str])
    """Folders that must exist even when nothing is in them."""
    copies: list[Copy] = field(default_factory=list[Copy])
    literals: literals_pb2.LiteralMap = field(default_factory=literals_pb2.LiteralMap)
    """For inputs.pb: the inputs with the local paths of blobs."""
    values: dict[str, object] = field(default_factory=dict[str, object])
    """For inputs.json and inputs.yaml: the same as plain values."""


def lay_out(inputs: literals_pb2.LiteralMap, folder: str, *, downloads: bool = True) -> Layout:
    """The files of `inputs`; `folder` is what the program calls the folder of its inputs.

    Without `downloads` blobs are not copied and keep their URIs. Raises UnsupportedLiteralError.
    """
    layout = Layout()
    layout.literals.CopyFrom(inputs)
    walk = _Walk(layout, folder, downloads=downloads)
    for name, file in file_names(inputs.literals).items():
        try:
            layout.values[name] = walk.literal(layout.literals.literals[name], file)
        except UnsupportedLiteralError as error:
            raise UnsupportedLiteralError(f"input {name!r}: {error}") from error
    return layout


def file_names(keys: Iterable[str]) -> dict[str, str]:
    """The name of the file for each key, in order of the keys.

    Raises UnsupportedLiteralError when a name is too long, or two keys are one file.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for key in sorted(keys):
        name = _file_name(key)
        if name in taken:
            raise UnsupportedLiteralError(f"the keys {taken[name]!r} and {key!r} would both be the file {name!r}")
        taken[name] = key
        found[key] = name
    return found


def _file_name(key: str) -> str:
    """The key itself where it can be the name of a file, else percent-encoded."""
    name = key
    if not key or key in {".", ".."}:
        name = "".join(f"%{byte:02X}" for byte in key.encode()) or "%00"
    elif "/" in key or "\0" in key:
        name = key.replace("/", "%2F").replace("\0", "%00")
    if len(name.encode(errors="surrogatepass")) > NAME_BYTES_MAX:
        raise UnsupportedLiteralError(f"the key {quote(key)[:80]}... is too long for the name of a file")
    return name


class _Walk:
    """One pass over the literals: fills the layout, puts local paths into the literals, returns plain values."""

    def __init__(self, layout: Layout, folder: str, *, downloads: bool) -> None:
        self._layout = layout
        self._folder = folder
        self._downloads = downloads

    def literal(self, literal: literals_pb2.Literal, path: str) -> object:
        kind = literal.WhichOneof("value")
        if kind == "scalar":
            return self._scalar(literal.scalar, path)
        if kind == "collection":
            self._layout.folders.append(path)
            items = literal.collection.literals
            return [self.literal(item, f"{path}/{index}") for index, item in enumerate(items)]
        if kind == "map":
            self._layout.folders.append(path)
            entries = literal.map.literals
            return {key: self.literal(entries[key], f"{path}/{name}") for key, name in file_names(entries).items()}
        raise UnsupportedLiteralError(f"a literal of kind {kind or 'nothing'} cannot be a file")

    def _scalar(self, scalar: literals_pb2.Scalar, path: str) -> object:
        kind = scalar.WhichOneof("value")
        if kind == "blob":
            scalar.blob.uri = self._copy(
                scalar.blob.uri,
                path,
                is_folder=scalar.blob.metadata.type.dimensionality == types_pb2.BlobType.MULTIPART,
            )
            return scalar.blob.uri
        if kind == "schema":
            scalar.schema.uri = self._copy(scalar.schema.uri, path, is_folder=True)
            return scalar.schema.uri
        if kind == "structured_dataset":
            scalar.structured_dataset.uri = self._copy(scalar.structured_dataset.uri, path, is_folder=True)
            return scalar.structured_dataset.uri
        if kind == "union":
            return self.literal(scalar.union.value, path)
        value, text = _plain(scalar)
        self._layout.texts[path] = text
        return value

    def _copy(self, uri: str, path: str, *, is_folder: bool) -> str:
        if not self._downloads:
            return uri
        self._layout.copies.append(Copy(uri, path, is_folder))
        return f"{self._folder}/{path}"


def _plain(scalar: literals_pb2.Scalar) -> tuple[object, bytes]:
    """Value and file content of a scalar that is no blob."""
    kind = scalar.WhichOneof("value")
    if kind == "primitive":
        value, text = _primitive(scalar.primitive)
        return value, text.encode(errors="surrogatepass")
    if kind == "none_type":
        return None, b"null"
    if kind == "generic":
        return json_format.MessageToDict(scalar.generic), json_format.MessageToJson(
            scalar.generic, indent=None
        ).encode()
    if kind == "binary":
        return base64.b64encode(scalar.binary.value).decode(), scalar.binary.value
    if kind == "error":
        return scalar.error.message, scalar.error.message.encode()
    raise UnsupportedLiteralError(f"a scalar of kind {kind or 'nothing'} cannot be a file")


def _primitive(primitive: literals_pb2.Primitive) -> tuple[object, str]:
    kind = primitive.WhichOneof("value")
    if kind == "string_value":
        return primitive.string_value, primitive.string_value
    if kind == "boolean":
        return primitive.boolean, values_text.boolean_text(primitive.boolean)
    if kind == "integer":
        return primitive.integer, str(primitive.integer)
    if kind == "float_value":
        number = primitive.float_value
        text = values_text.float_text(number)
        return number if math.isfinite(number) else text, text
    if kind == "datetime":
        text = values_text.timestamp_text(primitive.datetime)
        return text, text
    if kind == "duration":
        text = values_text.duration_text(primitive.duration)
        return text, text
    return None, "null"
