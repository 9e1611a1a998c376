"""From inputs.pb in the store to the folder of inputs that a raw container finds."""

import json
import os

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.copilot.layout import Copy, Layout, UnsupportedLiteralError, lay_out
from wingbeat_propeller.copilot.transfer import Transfer, each
from wingbeat_propeller.copilot.yaml_text import yaml_text


async def copy_in(transfer: Transfer, files: ContainerFiles, folder: str, shown_folder: str) -> None:
    """Fill the empty `folder`, which the program knows as `shown_folder`.

    Raises UnsupportedLiteralError for an input that cannot be a file, and what `Transfer` raises.
    """
    inputs = literals_pb2.LiteralMap()
    try:
        inputs.ParseFromString(await transfer.read(files.inputs_uri))
        for name in list(inputs.literals):
            await _load_offloaded(transfer, inputs.literals[name])
    except DecodeError as error:
        raise UnsupportedLiteralError(f"{files.inputs_uri} is no LiteralMap: {error}") from error
    layout = lay_out(inputs, shown_folder, downloads=files.downloads)
    _write_texts(layout, folder)
    await each(layout.copies, lambda copy: _fetch(transfer, copy, folder))
    _write(folder, "inputs.pb", layout.literals.SerializeToString())
    if files.format == "json":
        _write(folder, "inputs.json", json.dumps(layout.values, ensure_ascii=False).encode(errors="surrogatepass"))
    elif files.format == "yaml":
        _write(folder, "inputs.yaml", yaml_text(layout.values).encode(errors="surrogatepass"))


async def _fetch(transfer: Transfer, copy: Copy, folder: str) -> None:
    path = os.path.join(folder, copy.path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    await (transfer.fetch_folder if copy.is_folder else transfer.fetch_file)(copy.uri, path)


async def _load_offloaded(transfer: Transfer, literal: literals_pb2.Literal) -> None:
    """Put literals that lie in objects of their own in the place of their references."""
    kind = literal.WhichOneof("value")
    if kind == "offloaded_metadata":
        literal.CopyFrom(literals_pb2.Literal.FromString(await transfer.read(literal.offloaded_metadata.uri)))
        await _load_offloaded(transfer, literal)
    elif kind == "collection":
        for item in literal.collection.literals:
            await _load_offloaded(transfer, item)
    elif kind == "map":
        for key in list(literal.map.literals):
            await _load_offloaded(transfer, literal.map.literals[key])


def _write_texts(layout: Layout, folder: str) -> None:
    for path in layout.folders:
        os.makedirs(os.path.join(folder, path), exist_ok=True)
    for path, text in layout.texts.items():
        _write(folder, path, text)


def _write(folder: str, path: str, data: bytes) -> None:
    with open(os.path.join(folder, path), "wb") as file:
        file.write(data)
