"""Which checkpoint an attempt is told of."""

from pathlib import Path

from tests.unit.engine.test_dispatcher import _launch

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.folders import checkpoint_folder
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.engine.checkpoints import ATTEMPTS_MAX, previous_checkpoint


def _attempt(number: int) -> Launch:
    launch = _launch(generated_name("e", "n0", number))
    return launch._replace(
        ref=launch.ref._replace(attempt=number),
        previous_generated_name=generated_name("e", "n0", number - 1) if number else None,
    )


async def test_the_newest_checkpoint_counts(tmp_path: Path) -> None:
    """The first attempt has none to go on from; later ones have the newest, however many attempts left none since."""
    blobs = FolderBlobs(tmp_path)
    prefix = f"{blobs.base}/data"

    async def found(number: int) -> str:
        return await previous_checkpoint(blobs, prefix, "e", _attempt(number))

    assert [await found(0), await found(1), await found(3)] == ["", "", ""]
    folder = checkpoint_folder(prefix, "e-n0-1")
    await blobs.put(f"{folder}/_dst_cp", b"x")
    assert [await found(1), await found(2), await found(5)] == ["", folder, folder]
    newer = checkpoint_folder(prefix, "e-n0-4")
    await blobs.put(f"{newer}/below/x", b"x")
    assert await found(5) == newer
    assert await found(2) == folder
    assert await found(5 + ATTEMPTS_MAX) == ""


async def test_elements_of_an_array_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    """The newest of the same element, whatever its neighbours left."""
    blobs = FolderBlobs(tmp_path)
    prefix = f"{blobs.base}/data"

    async def found(number: int) -> str:
        launch = _attempt(number)
        element = launch._replace(
            ref=launch.ref._replace(element=5),
            generated_name=f"e-n0-0-n5-{number}",
            previous_generated_name=f"e-n0-0-n5-{number - 1}" if number else None,
        )
        return await previous_checkpoint(blobs, prefix, "e", element)

    await blobs.put(f"{checkpoint_folder(prefix, 'e-n0-0-n4-0')}/x", b"x")
    assert [await found(0), await found(3)] == ["", ""]
    folder = checkpoint_folder(prefix, "e-n0-0-n5-0")
    await blobs.put(f"{folder}/x", b"x")
    assert [await found(1), await found(3)] == [folder, folder]


async def test_other_stores(tmp_path: Path) -> None:
    """What cannot be looked into is trusted."""
    blobs = FolderBlobs(tmp_path)
    prefix = f"{blobs.base}/data"
    assert await previous_checkpoint(blobs, "gs://else", "e", _attempt(3)) == checkpoint_folder("gs://else", "e-n0-2")
    assert await previous_checkpoint(blobs, prefix, "e", _attempt(3)) == ""
