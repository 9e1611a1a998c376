"""Lists of arrays out of the blob store, and collections of what came out of elements into it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from flyteidl.core import literals_pb2
from tests.unit.core.arrays import array, integer, integers, outputs
from tests.unit.core.plans import line, task

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.array_inputs import element_inputs
from wingbeat_propeller.core.effects import Gather, NodeRef, OpenArray
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import ArraySpec
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Ref, Value, build_literal_map
from wingbeat_propeller.engine import arrays
from wingbeat_propeller.engine.arrays import gather, open_array
from wingbeat_propeller.engine.preparation import PreparationFailedError

REF = NodeRef(0, 2, 0)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """An empty store."""
    return FolderBlobs(tmp_path)


def _request(spec: ArraySpec, values: Mapping[str, Value], uri: str, inputs: bytes | None = None) -> OpenArray:
    return OpenArray(REF, spec, values, uri, inputs)


async def test_inputs_are_stored_once_for_all_elements(blobs: FolderBlobs) -> None:
    """Where their programs read them; an empty map as well."""
    uri = f"{blobs.base}/inputs.pb"
    literal = integers([1, 2]).SerializeToString()
    data = build_literal_map({"x": literal})
    assert (await open_array(blobs, _request(array(), {"x": literal}, uri, data))).size == 2
    assert await blobs.get(uri) == data
    assert (await open_array(blobs, _request(array(input_names=()), {}, uri, b""))).size == 1
    assert await blobs.get(uri) == b""


async def test_lists_in_the_store_are_counted(blobs: FolderBlobs) -> None:
    """Those that are bound whole stay there; inputs that were left out are no inputs."""
    uri = f"{blobs.base}/inputs.pb"
    whole = integer(3).SerializeToString()
    await blobs.put(uri, build_literal_map({"x": integers(range(5000)).SerializeToString(), "w": whole}))
    spec = array(line(task("inner")), picks=True, bound_inputs=frozenset({"w"}))
    values = {name: Ref(uri, name) for name in ("x", "w", "absent")}
    opened = await open_array(blobs, _request(spec, values, uri))
    assert opened.size == 5000
    assert element_inputs(opened, 4711) == {"x": integer(4711).SerializeToString(), "w": Ref(uri, "w")}


async def test_elements_with_files_of_their_own_get_everything(blobs: FolderBlobs) -> None:
    """What is bound whole is loaded for them, too."""
    uri = f"{blobs.base}/inputs.pb"
    whole = integers([7]).SerializeToString()
    await blobs.put(uri, build_literal_map({"x": integers([1]).SerializeToString(), "w": whole}))
    spec = array(picks=True, bound_inputs=frozenset({"w"}))
    opened = await open_array(blobs, _request(spec, {"x": Ref(uri, "x"), "w": Ref(uri, "w")}, uri))
    assert element_inputs(opened, 0) == {"x": integer(1).SerializeToString(), "w": whole}


async def test_a_list_that_was_put_apart_is_read(blobs: FolderBlobs) -> None:
    """An offloaded literal names where its content lies."""
    uri = f"{blobs.base}/apart.pb"
    await blobs.put(uri, integers([1, 2, 3]).SerializeToString())
    apart = literals_pb2.Literal(offloaded_metadata={"uri": uri}).SerializeToString()
    opened = await open_array(blobs, _request(array(picks=True), {"x": apart}, "unused"))
    assert opened.size == 3
    assert opened.items["x"][2] == integer(3).SerializeToString()


async def test_lists_that_cannot_be_had(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are gone, are no literals, or are larger than what is looked into: each says so."""
    uri = f"{blobs.base}/inputs.pb"
    with pytest.raises(PreparationFailedError) as caught:
        await open_array(blobs, _request(array(), {"x": Ref(uri, "x")}, uri))
    assert caught.value.failure.code == "BindingResolutionFailure"
    await blobs.put(uri, build_literal_map({"x": integers([1, 2]).SerializeToString()[:-1]}))
    size = (await open_array(blobs, _request(array(), {"x": Ref(uri, "x")}, uri))).size
    assert isinstance(size, Failure)
    assert "input 'x' cannot be read" in size.message
    monkeypatch.setattr(arrays, "INPUT_BYTES_MAX", 4)
    with pytest.raises(PreparationFailedError) as caught:
        await open_array(blobs, _request(array(), {"x": Ref(uri, "x")}, uri))
    assert caught.value.failure.code == "InputsTooLarge"


async def test_collections_of_rows_and_blobs(blobs: FolderBlobs) -> None:
    """In the order of the elements, with none for those that failed or lack the output; small ones are given too."""
    await blobs.put(f"{blobs.base}/1", outputs(1))
    elements = [outputs(0), f"{blobs.base}/1", None, b"", outputs(4)]
    uri = f"{blobs.base}/outputs.pb"
    values, serialized = await gather(blobs, Gather(REF, ("o0",), elements, uri))
    assert serialized == await blobs.get(uri) == build_literal_map({"o0": values["o0"]})
    made = literals_pb2.LiteralMap.FromString(serialized).literals["o0"].collection.literals
    assert [None if one.scalar.HasField("none_type") else one.scalar.primitive.integer for one in made] == [
        0, 1, None, None, 4
    ]  # fmt: skip


async def test_large_collections_stay_in_the_store(blobs: FolderBlobs) -> None:
    """Only their address is handed on."""
    uri = f"{blobs.base}/outputs.pb"
    count = INLINE_BYTES_MAX // 8 + 1
    values, serialized = await gather(blobs, Gather(REF, ("o0",), [outputs(1)] * count, uri))
    assert (values, serialized) == ({"o0": Ref(uri, "o0")}, None)
    stored = literals_pb2.LiteralMap.FromString(await blobs.get(uri))
    assert len(stored.literals["o0"].collection.literals) == count


async def test_outputs_that_cannot_be_put_together(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is gone, or all of them are too much: each says so."""
    uri = f"{blobs.base}/outputs.pb"
    with pytest.raises(PreparationFailedError) as caught:
        await gather(blobs, Gather(REF, ("o0",), [outputs(0), f"{blobs.base}/gone"], uri))
    assert caught.value.failure.code == "OutputsNotReadable"
    monkeypatch.setattr(arrays, "OUTPUT_BYTES_MAX", 2 * len(outputs(1)))
    await blobs.put(f"{blobs.base}/1", outputs(1))
    for elements in ([outputs(1)] * 3, [f"{blobs.base}/1"] * 3):
        with pytest.raises(PreparationFailedError) as caught:
            await gather(blobs, Gather(REF, ("o0",), elements, uri))
        assert caught.value.failure.code == "OutputSizeExceeded"
