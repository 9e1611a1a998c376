"""What a finished program produced: the order of looking at its files, and the meaning of error.pb.

Rules of Flyte v1 for task containers: the program's own failure wins; then futures.pb, error.pb, outputs.pb.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import TypeAlias

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.folders import DECK_FILE
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.plan import TaskSpec
from wingbeat_propeller.core.references import tokens_of
from wingbeat_propeller.core.values import (
    ELEMENT_INLINE_BYTES_MAX,
    INLINE_BYTES_MAX,
    MalformedLiteralMapError,
    Ref,
    Value,
    split_literal_map,
)
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.tasks.error_document import parse_error_document

ERROR_BYTES_MAX = 256 << 20
"""Largest error.pb that is read."""
OUTPUTS_BYTES_MAX = 2 << 30
"""Largest outputs.pb: protobuf readers end there."""
REFERENCES_BYTES_MAX = 4 << 20
"""Largest outputs.pb that is read for nothing but the blobs that it refers to."""


RESULT_FILES = ("error.pb", "futures.pb", "outputs.pb", DECK_FILE)
"""What a program may leave in its output folder and `collect` looks at, the deciding ones first."""


@dataclass(frozen=True, slots=True)
class Produced:
    """Outputs by variable, the same as a serialized map when it fits a row, and the deck as TaskSucceeded has it."""

    outputs: dict[str, Value]
    serialized: bytes | None
    deck_uri: str | None
    references: tuple[str, ...] = ()
    """What outputs that stay in the store are known by, as TaskSucceeded has it."""


class IsDynamic:
    """The program wrote a workflow instead of outputs."""


Outcome: TypeAlias = Produced | IsDynamic | Failure


def inline_bytes_max(launch: Launch) -> int:
    """Size of an attempt's outputs that need no blob: an element of an array is one of many."""
    return INLINE_BYTES_MAX if launch.ref.element < 0 else ELEMENT_INLINE_BYTES_MAX


async def collect(blobs: Blobs, launch: Launch) -> Outcome:
    """Judge the files that a program which ended well left in the output folder of its attempt."""
    try:
        return await _collect(blobs, launch.task, launch.output_dir, inline_bytes_max(launch))
    except BlobStoreFailedError as error:
        return error.failure()


async def _collect(blobs: Blobs, task: TaskSpec, output_dir: str, bytes_max: int) -> Outcome:
    if await _stat(blobs, f"{output_dir}/futures.pb") is not None:
        return IsDynamic()
    failure = await _reported_failure(blobs, f"{output_dir}/error.pb")
    if failure is not None:
        return failure
    produced: Outcome = Produced({}, b"", None)
    if task.output_names:
        produced = await _outputs(blobs, task, f"{output_dir}/outputs.pb", bytes_max)
    if isinstance(produced, Failure):
        return produced
    return replace(produced, deck_uri=await _deck(blobs, task, output_dir))


async def announced_deck(blobs: Blobs, task: TaskSpec, output_dir: str) -> str | None:
    """What became of the deck of a task that failed, if it had announced one; see TaskFailed."""
    try:
        return await _deck(blobs, task, output_dir) if task.wants_deck else None
    except BlobStoreFailedError:
        return None  # the failure itself is what counts


async def _deck(blobs: Blobs, task: TaskSpec, output_dir: str) -> str | None:
    if task.wants_deck is False:
        return None
    uri = f"{output_dir}/{DECK_FILE}"
    if await _stat(blobs, uri) is not None:
        return uri
    return "" if task.wants_deck else None


async def _stat(blobs: Blobs, uri: str) -> int | None:
    stat = await riding_out(lambda: blobs.stat(uri), f"looking for {uri}")
    return None if stat is None else stat.size


async def _reported_failure(blobs: Blobs, uri: str) -> Failure | None:
    size = await _stat(blobs, uri)
    if size is None:
        return None
    if size > ERROR_BYTES_MAX:
        return Failure(ErrorKind.USER, "ErrorFileTooLarge", f"the task's error report has {size} bytes")
    try:
        data = await riding_out(lambda: blobs.get(uri), f"reading {uri}")
    except BlobNotFoundError:
        return Failure(ErrorKind.SYSTEM, "ErrorFileNotFound", f"{uri} vanished while it was read", retryable=True)
    return parse_error_document(data)


async def _outputs(blobs: Blobs, task: TaskSpec, uri: str, bytes_max: int) -> Produced | Failure:
    size = await _stat(blobs, uri)
    if size is None:
        names = ", ".join(task.output_names)
        text = f"the task ended without writing its outputs ({names}): {uri} does not exist"
        return Failure(ErrorKind.USER, "OutputsNotFound", text, retryable=True)
    if size > OUTPUTS_BYTES_MAX:
        return Failure(ErrorKind.USER, "OutputSizeExceeded", f"outputs have {size} bytes, at most {OUTPUTS_BYTES_MAX}")
    if size > bytes_max:
        references = await _references(blobs, task, uri, size)
        return Produced({name: Ref(uri, name) for name in task.output_names}, None, None, references)
    try:
        data = await riding_out(lambda: blobs.get(uri), f"reading {uri}")
        return Produced(dict(split_literal_map(data)), data, None)
    except (BlobNotFoundError, BlobTooLargeError, MalformedLiteralMapError) as error:
        return Failure(ErrorKind.SYSTEM, "OutputsNotReadable", f"{uri} cannot be read: {error}", retryable=True)


async def _references(blobs: Blobs, task: TaskSpec, uri: str, size: int) -> tuple[str, ...]:
    """What is known of large outputs elsewhere; only where they may refer to blobs, and not for the largest."""
    if not task.referring_outputs or size > REFERENCES_BYTES_MAX:
        return ()
    try:
        data = await riding_out(lambda: blobs.get(uri), f"reading {uri}")
        return await asyncio.to_thread(_found, data, task.referring_outputs)
    except (BlobNotFoundError, BlobTooLargeError, MalformedLiteralMapError):
        return ()  # whoever needs the values will say what is wrong with them


def _found(data: bytes, names: frozenset[str]) -> tuple[str, ...]:
    values = split_literal_map(data)
    return tuple(
        part for name in sorted(names & values.keys()) for token in tokens_of(values[name]) for part in (name, token)
    )
