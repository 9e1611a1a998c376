"""What fits into an answer, and what becomes a link. The store is a folder."""

from pathlib import Path

import pytest
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import literals_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions import data as data_module
from wingbeat_controlplane.executions.data import DataReader, StoredValue
from wingbeat_controlplane.executions.failures import whole_error
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner

NOTHING = StoredValue(None, None)


def _literals(size: int) -> bytes:
    literals = literals_pb2.LiteralMap()
    literals.literals["x"].scalar.primitive.string_value = "s" * size
    return literals.SerializeToString()


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """A store of this test's own."""
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def reader(blobs: FolderBlobs) -> DataReader:
    """Answers hold ten thousand bytes, those without a place for a link fifteen thousand."""
    signer = ServedUrlSigner(base=blobs.base, http_base_url="http://h", key=b"k" * 32)
    return DataReader(blobs, signer, inline_bytes_max=10_000, single_bytes_max=15_000, link_life_s=60)


async def test_rows_are_preferred(reader: DataReader, blobs: FolderBlobs) -> None:
    """A value in the row is used though a blob is named beside it, which need not exist."""
    data = await reader.read(inputs=StoredValue(_literals(5), f"{blobs.base}/none"), outputs=NOTHING)
    assert data.inputs.literals == _literals(5)
    assert data.outputs.literals == b""
    assert data.outputs.link.bytes == 0


async def test_blobs_within_the_bound_are_inline(reader: DataReader, blobs: FolderBlobs) -> None:
    """A blob that fits is read."""
    await blobs.put(f"{blobs.base}/o", _literals(6_000))
    data = await reader.read(inputs=NOTHING, outputs=StoredValue(None, f"{blobs.base}/o"))
    assert data.outputs.literals == _literals(6_000)


async def test_bound_is_for_the_whole_answer(reader: DataReader, blobs: FolderBlobs) -> None:
    """Outputs come first; inputs that no longer fit become a link without a query, with their size."""
    large = _literals(6_000)
    await blobs.put(f"{blobs.base}/both", large)
    value = StoredValue(None, f"{blobs.base}/both")
    data = await reader.read(inputs=value, outputs=value)
    assert data.outputs.literals == large
    assert data.inputs.literals == b""
    assert data.inputs.link.bytes == len(large)
    assert data.inputs.link.url.startswith("http://h/blobs/")
    assert not set("?*[") & set(data.inputs.link.url)


async def test_missing_and_foreign_blobs_are_empty(reader: DataReader) -> None:
    """A blob that was never written, or lies in another store, is an empty map and no error."""
    for uri in ("s3://other/x", "file:///etc/passwd"):
        assert await reader.literals(StoredValue(None, uri)) == b""
    data = await reader.read(inputs=NOTHING, outputs=StoredValue(b"", None))
    assert data.outputs.literals == b""


async def test_what_is_no_literal_map_is_said(reader: DataReader, blobs: FolderBlobs) -> None:
    """Bytes of another kind are a loss of data, not an empty map."""
    await blobs.put(f"{blobs.base}/bad", b"\xff\xff")
    with pytest.raises(ApiError, match="no LiteralMap"):
        await reader.literals(StoredValue(None, f"{blobs.base}/bad"))


async def test_single_values_are_whole(reader: DataReader, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of one value cannot take a link: it gets more than an answer for everybody holds, up to a bound."""
    large = _literals(20_000)
    value = StoredValue(None, f"{blobs.base}/large")
    await blobs.put(f"{blobs.base}/large", large)
    assert await reader.literals(value) == large
    monkeypatch.setattr(data_module, "WHOLE_BYTES_MAX", 10_000)
    with pytest.raises(ApiError, match="more than"):
        await reader.literals(value)


async def test_encoding(reader: DataReader) -> None:
    """Both maps stand in the answer of each of the three rpcs, also when they are empty."""
    data = await reader.read(inputs=StoredValue(_literals(5), None), outputs=NOTHING)
    for response in (
        execution_pb2.WorkflowExecutionGetDataResponse,
        node_execution_pb2.NodeExecutionGetDataResponse,
        task_execution_pb2.TaskExecutionGetDataResponse,
    ):
        answer = response.FromString(data.encode())
        assert answer.full_inputs.SerializeToString() == _literals(5)
        assert answer.HasField("full_outputs")


async def test_whole_errors(blobs: FolderBlobs) -> None:
    """The blob has the whole message; when it is gone, broken or too large, the row's beginning is shown."""
    whole = core_execution_pb2.ExecutionError(code="C", message="m" * 100_000)
    cut = core_execution_pb2.ExecutionError(code="C", message="m" * 10).SerializeToString()
    uri = f"{blobs.base}/error"
    await blobs.put(uri, whole.SerializeToString())
    assert await whole_error(blobs, cut, uri, bytes_max=200_000) == whole
    for broken, bytes_max in ((uri, 1_000), (f"{blobs.base}/none", 1_000), ("s3://other/x", 1_000)):
        error = await whole_error(blobs, cut, broken, bytes_max=bytes_max)
        assert error is not None
        assert error.message == "m" * 10
    assert await whole_error(blobs, None, None, bytes_max=1) is None
