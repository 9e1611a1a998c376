"""Which checkpoint an attempt may go on from.

Flyte v1 names the folder of the attempt before, whether or not anything lies there; flytekit then fails for good when
it reads. Here it is the newest attempt that left a checkpoint, and none when none did, so that a task that was cut
before its first checkpoint starts anew, and one that was cut right after a retry loses nothing.
"""

from collections.abc import Callable, Iterator

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.folders import checkpoint_folder
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.core.reuse import inherited_checkpoint
from wingbeat_propeller.engine.blob_retry import riding_out
from wingbeat_propeller.ports.blobs import BlobAccessError, Blobs

ATTEMPTS_MAX = 10
"""So many attempts are looked back at."""


async def previous_checkpoint(blobs: Blobs, prefix: str, execution_name: str, launch: Launch) -> str:
    """Folder with the newest checkpoint of earlier attempts, else the one that the node inherits from an execution that
    is recovered; empty when there is none.

    A prefix outside of the store cannot be looked into: then it is the folder of the attempt before. Raises
    BlobStoreFailedError.
    """
    for name in _earlier(execution_name, launch):
        folder = checkpoint_folder(prefix, name)
        try:
            found = await riding_out(lambda folder=folder: blobs.list(folder), f"looking for checkpoints in {folder}")
        except BlobAccessError:
            return folder
        if found:
            return folder
    return inherited_checkpoint(launch.inherited)


async def newest_checkpoint(blobs: Blobs, prefix: str, attempt: int, name: Callable[[int], str]) -> str | None:
    """Folder with the newest checkpoint that attempts up to number `attempt` left in another execution, in which they
    have the generated name `name(number)`.

    None when there is none, or when the prefix is outside of the store. Raises BlobStoreFailedError.
    """
    for number in range(attempt, max(-1, attempt - ATTEMPTS_MAX), -1):
        folder = checkpoint_folder(prefix, name(number))
        try:
            found = await riding_out(lambda folder=folder: blobs.list(folder), f"looking for checkpoints in {folder}")
        except BlobAccessError:
            return None
        if found:
            return folder
    return None


def _earlier(execution_name: str, launch: Launch) -> Iterator[str]:
    """Generated names of earlier attempts, newest first."""
    attempt = launch.ref.attempt
    if launch.previous_generated_name is None:
        return
    yield launch.previous_generated_name
    for number in range(attempt - 2, max(-1, attempt - 1 - ATTEMPTS_MAX), -1):
        if launch.ref.element >= 0:
            yield f"{launch.generated_name.removesuffix(f'-{attempt}')}-{number}"  # see ids.element_name
        else:
            yield generated_name(execution_name, launch.node_id, number)
