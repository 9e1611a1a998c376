"""Inputs that must be read before a node can have them: parts of values that tasks have put apart."""

import asyncio
from pathlib import Path

import pytest
from flyteidl.core import literals_pb2

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.bindings import BindingProgram, Promise
from wingbeat_propeller.core.effects import NodeRef, Prepare
from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.core.values import Value, split_literal_map
from wingbeat_propeller.engine import preparation
from wingbeat_propeller.engine.preparation import PreparationFailedError, prepare


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """An empty store."""
    return FolderBlobs(tmp_path)


def _text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def _apart(uri: str) -> bytes:
    metadata = literals_pb2.LiteralOffloadedMetadata(uri=uri)
    return literals_pb2.Literal(offloaded_metadata=metadata, hash="h").SerializeToString()


async def _prepared(blobs: FolderBlobs, value: bytes, *, turn: asyncio.Semaphore | None = None) -> dict[str, Value]:
    """Inputs `x`, a part of the value, and `whole`, all of it."""
    program = BindingProgram((("x", Promise(3, "o0", ("k",))), ("whole", Promise(3, "o0"))), (3,))
    request = Prepare(NodeRef(0, 2, 0), program, {3: {"o0": value}}, f"{blobs.base}/inputs.pb")
    return await prepare(blobs, request, turn or asyncio.Semaphore(1))


async def test_a_part_of_a_value_put_apart_is_read_and_the_value_passed_on_as_it_is(blobs: FolderBlobs) -> None:
    """What the node reads has the part, and where the whole is; the turn is given back."""
    uri, turn = f"{blobs.base}/o0_offloaded_metadata.pb", asyncio.Semaphore(1)
    stored = literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"k": _text("v")}))
    await blobs.put(uri, stored.SerializeToString())
    values = await _prepared(blobs, _apart(uri), turn=turn)
    assert values == {"x": _text("v").SerializeToString(), "whole": _apart(uri)}
    assert split_literal_map(await blobs.get(f"{blobs.base}/inputs.pb")) == values
    assert not turn.locked()


async def test_a_value_put_apart_that_is_gone_fails_the_node_with_its_address(blobs: FolderBlobs) -> None:
    """Whether it was removed or lies where nobody may read."""
    for uri, text in ((f"{blobs.base}/gone.pb", "which is gone"), ("s3://elsewhere/x.pb", "cannot be read")):
        with pytest.raises(PreparationFailedError) as error:
            await _prepared(blobs, _apart(uri))
        failure = error.value.failure
        assert (failure.kind, failure.code) == (ErrorKind.SYSTEM, "BindingResolutionFailure")
        assert text in failure.message
        assert uri in failure.message


async def test_no_more_is_looked_into_than_fits(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is too large is named, with the bound."""
    monkeypatch.setattr(preparation, "APART_BYTES_MAX", 1 << 20)
    uri = f"{blobs.base}/large.pb"
    await blobs.put(uri, bytes((1 << 20) + 1))
    with pytest.raises(PreparationFailedError) as error:
        await _prepared(blobs, _apart(uri))
    assert (error.value.failure.kind, error.value.failure.code) == (ErrorKind.USER, "InputsTooLarge")
    assert "no more than 1 MiB" in error.value.failure.message
