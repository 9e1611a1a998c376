"""From the folder of outputs that a raw container left to outputs.pb in the store."""

import glob
import os

from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from wingbeat_propeller.compiler.type_text import type_text
from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.copilot.layout import file_names
from wingbeat_propeller.copilot.results import SIMPLE_BYTES_MAX, BadResultError, parse_simple
from wingbeat_propeller.copilot.transfer import Transfer

ERROR_FILE = "_ERROR"
ERROR_BYTES_MAX = 1 << 20
"""So much of an error's text is kept."""


def reported_error(folder: str) -> str | None:
    """The text of the error that the program left, None when it left none."""
    try:
        with open(os.path.join(folder, ERROR_FILE), "rb") as file:
            return file.read(ERROR_BYTES_MAX).decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise BadResultError(f"{ERROR_FILE} is a folder; an error is a file with its text") from None


async def copy_out(transfer: Transfer, files: ContainerFiles, folder: str) -> None:
    """Read or upload every declared output, then write outputs.pb; nothing is written when one is wrong.

    Raises BadResultError, which names the output, and what `Transfer` raises.
    """
    variables = interface_pb2.VariableMap.FromString(files.outputs).variables
    outputs = literals_pb2.LiteralMap()
    names = file_names(variables)
    for name, file in names.items():
        try:
            literal = await _output(transfer, files, os.path.join(folder, file), file, variables[name].type)
        except BadResultError as error:
            raise BadResultError(f"output {name!r}: {error}") from error
        outputs.literals[name].CopyFrom(literal)
    if names:
        await transfer.write(f"{files.output_prefix}/outputs.pb", outputs.SerializeToString())


async def _output(
    transfer: Transfer, files: ContainerFiles, path: str, file: str, declared: types_pb2.LiteralType
) -> literals_pb2.Literal:
    kind = declared.WhichOneof("type")
    if kind == "simple":
        return parse_simple(declared.simple, _content(_found(path)))
    if kind == "blob":
        found = _found(path)
        if not files.uploads:
            return _blob(declared.blob, _content(found).decode(errors="replace").strip())
        uri = f"{files.raw_output_prefix}/{file}"
        is_folder = declared.blob.dimensionality == types_pb2.BlobType.MULTIPART
        if is_folder != os.path.isdir(found):
            wanted, got = ("a folder", "a file") if is_folder else ("a file", "a folder")
            raise BadResultError(f"it is declared as {wanted}, and {path} is {got}")
        await (transfer.send_folder if is_folder else transfer.send_file)(found, uri)
        return _blob(declared.blob, uri)
    raise BadResultError(
        f"a raw container cannot return a value of type {type_text(declared)}; it can return integers, floats, "
        "booleans, strings, datetimes, durations, structs (JSON), binary (msgpack), files and folders"
    )


def _found(path: str) -> str:
    """The file or folder of an output; a file may have an extension. Raises BadResultError."""
    if os.path.exists(path):
        return path
    candidates = glob.glob(f"{glob.escape(path)}.*")
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(sorted(map(os.path.basename, candidates)))
        raise BadResultError(f"the command left several files for it: {names}")
    there = ", ".join(sorted(os.listdir(os.path.dirname(path)))) or "nothing"
    raise BadResultError(f"the command left no file {path}; there is {there}")


def _content(path: str) -> bytes:
    if not os.path.isfile(path):
        raise BadResultError(f"{path} is no file")
    with open(path, "rb") as file:
        return file.read(SIMPLE_BYTES_MAX + 1)


def _blob(declared: types_pb2.BlobType, uri: str) -> literals_pb2.Literal:
    blob = literals_pb2.Blob(metadata=literals_pb2.BlobMetadata(type=declared), uri=uri)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=blob))
