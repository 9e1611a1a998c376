"""PURE: outputs as entries keep them: their digest, whether they fit an interface, and which files they refer to."""

import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of
from wingbeat_propeller.compiler.type_text import type_text


class ReferenceKind(Enum):
    """What a literal refers to."""

    OBJECT = "object"
    FOLDER = "folder"
    EITHER = "either"


class Reference(NamedTuple):
    """A file or folder outside of the literal."""

    uri: str
    kind: ReferenceKind


def content_digest(dataset: bytes, data: bytes) -> bytes:
    """32 bytes for outputs in a dataset; the store adds the id of the artifact (`entry_digest`)."""
    return hashlib.sha256(dataset + data).digest()


def entry_digest(content: bytes, artifact_id: str) -> bytes:
    """32 bytes that bind outputs to their entry, so that neither can be replaced alone; `cache_put` in migration 0011
    computes the same."""
    return hashlib.sha256(content + artifact_id.encode()).digest()


def mismatch(outputs: literals_pb2.LiteralMap, expected: Mapping[str, types_pb2.LiteralType]) -> str | None:
    """Why the outputs cannot be those of a task, in words; None when names and types fit."""
    names, wanted = set(outputs.literals), set(expected)
    if names != wanted:
        missing, unknown = sorted(wanted - names), sorted(names - wanted)
        parts = [f"it has no output {', '.join(missing)}"] if missing else []
        parts += [f"output {', '.join(unknown)} is not of the task"] if unknown else []
        return " and ".join(parts)
    for name, literal in outputs.literals.items():
        try:
            found = literal_type_of(literal)
        except UnknownLiteralError as error:
            return f"output {name}: {error}"
        if not is_castable(found, expected[name]):
            return f"output {name} is of type {type_text(found)}, the task has {type_text(expected[name])}"
    return None


def references(outputs: literals_pb2.LiteralMap) -> Iterator[Reference]:
    """Files and folders that the outputs refer to, with repetitions."""
    for literal in outputs.literals.values():
        yield from _of_literal(literal)


def _of_literal(literal: literals_pb2.Literal) -> Iterator[Reference]:
    match literal.WhichOneof("value"):
        case "scalar":
            yield from _of_scalar(literal.scalar)
        case "collection":
            for member in literal.collection.literals:
                yield from _of_literal(member)
        case "map":
            for member in literal.map.literals.values():
                yield from _of_literal(member)
        case "offloaded_metadata":
            yield Reference(literal.offloaded_metadata.uri, ReferenceKind.OBJECT)
        case _:
            pass


def _of_scalar(scalar: literals_pb2.Scalar) -> Iterator[Reference]:
    match scalar.WhichOneof("value"):
        case "blob":
            is_folder = scalar.blob.metadata.type.dimensionality == types_pb2.BlobType.MULTIPART
            yield Reference(scalar.blob.uri, ReferenceKind.FOLDER if is_folder else ReferenceKind.OBJECT)
        case "schema":
            yield Reference(scalar.schema.uri, ReferenceKind.EITHER)
        case "structured_dataset":
            yield Reference(scalar.structured_dataset.uri, ReferenceKind.EITHER)
        case "union":
            yield from _of_literal(scalar.union.value)
        case _:
            pass
