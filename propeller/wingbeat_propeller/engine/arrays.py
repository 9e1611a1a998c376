"""What array nodes need of the blob store: their lists before the elements begin, and collections of what came out.

Called by the engine for OpenArray and Gather. Both may be repeated after a crash: they write what they wrote before.
Long lists are gone through a part at a time, so that other work of the event loop is not held up.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from wingbeat_propeller.core.array_inputs import ArrayInputs, OffloadedError, needs_content, take_apart
from wingbeat_propeller.core.array_outputs import collections
from wingbeat_propeller.core.effects import Gather, OpenArray
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import (
    INLINE_BYTES_MAX,
    MalformedLiteralMapError,
    Ref,
    Value,
    build_literal_map,
    split_literal_map,
)
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.preparation import PreparationFailedError
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError

INPUT_BYTES_MAX = 256 << 20
"""Largest LiteralMap that is loaded to look into its lists."""
OUTPUT_BYTES_MAX = 1 << 30
"""Most bytes of elements' outputs that are put together; protobuf readers end at twice that."""
READS_MAX = 32
"""Outputs of elements that are read at once."""
TURN = 2_000
"""Elements gone through before other work gets its turn."""


async def open_array(blobs: Blobs, request: OpenArray) -> ArrayInputs:
    """Store the inputs where the elements' programs read them, and take the lists apart.

    Raises PreparationFailedError.
    """
    try:
        inputs = request.inputs
        if inputs is not None:
            await riding_out(lambda: blobs.put(request.uri, inputs), f"writing {request.uri}")
        values = await _loaded(blobs, request)
        while True:
            try:
                return await asyncio.to_thread(take_apart, request.spec, values)
            except OffloadedError as error:
                values[error.var] = await _get(blobs, error.uri, INPUT_BYTES_MAX)
    except (BlobNotFoundError, BlobAccessError, MalformedLiteralMapError) as error:
        text = f"the inputs of the array cannot be read: {error}"
        raise PreparationFailedError(Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text)) from error
    except BlobTooLargeError as error:
        text = f"the inputs of the array have more than {INPUT_BYTES_MAX >> 20} MiB: {error}"
        raise PreparationFailedError(Failure(ErrorKind.USER, "InputsTooLarge", text)) from error
    except BlobStoreFailedError as error:
        raise PreparationFailedError(error.failure()) from error


async def gather(blobs: Blobs, request: Gather) -> tuple[dict[str, Value], bytes | None]:
    """Store the collections at the request's uri; returns them as values, and serialized when small enough for a row.

    Raises PreparationFailedError.
    """
    try:
        elements = [outputs async for outputs in _outputs(blobs, request.elements)]
        made = await asyncio.to_thread(collections, request.names, elements)
        data = build_literal_map(made)
        await riding_out(lambda: blobs.put(request.uri, data), f"writing {request.uri}")
    except (BlobNotFoundError, BlobAccessError, MalformedLiteralMapError) as error:
        text = f"the outputs of an element cannot be read: {error}"
        raise PreparationFailedError(Failure(ErrorKind.SYSTEM, "OutputsNotReadable", text)) from error
    except BlobTooLargeError as error:
        text = f"the outputs of the elements have more than {OUTPUT_BYTES_MAX >> 20} MiB in all: {error}"
        raise PreparationFailedError(Failure(ErrorKind.USER, "OutputSizeExceeded", text)) from error
    except BlobStoreFailedError as error:
        raise PreparationFailedError(error.failure()) from error
    if len(data) <= INLINE_BYTES_MAX:
        return dict(made), data
    return {name: Ref(request.uri, name) for name in made}, None


async def _loaded(blobs: Blobs, request: OpenArray) -> dict[str, Value]:
    """The inputs, with those that are looked into at hand; inputs that were left out are not among them."""
    spec = request.spec
    values: dict[str, Value] = {}
    maps: dict[str, dict[str, bytes]] = {}
    for var, value in request.values.items():
        if not isinstance(value, Ref):
            values[var] = value
            continue
        if value.uri not in maps:
            data = await _get(blobs, value.uri, INPUT_BYTES_MAX)
            maps[value.uri] = await asyncio.to_thread(split_literal_map, data)
        content = maps[value.uri].get(value.var)
        if content is not None:
            values[var] = value if var in spec.bound_inputs and not needs_content(spec) else content
    return values


async def _outputs(blobs: Blobs, elements: Sequence[bytes | str | None]) -> AsyncIterator[Mapping[str, bytes] | None]:
    """Outputs of elements in order, some of them read ahead."""
    room = OUTPUT_BYTES_MAX
    for start in range(0, len(elements), TURN):
        part = elements[start : start + TURN]
        found = await _read_all(blobs, [uri for uri in part if isinstance(uri, str)], room)
        for outputs in part:
            data = found[outputs] if isinstance(outputs, str) else outputs
            if data is None:
                yield None
                continue
            room -= len(data)
            if room < 0:
                raise BlobTooLargeError("too many or too large")
            yield split_literal_map(data)
        await asyncio.sleep(0)


async def _read_all(blobs: Blobs, uris: Sequence[str], room: int) -> dict[str, bytes]:
    """Content of several blobs, by uri. Raises the first error that any of the reads met."""
    found: dict[str, bytes] = {}
    failures: list[Exception] = []
    pending = iter(uris)

    async def read() -> None:
        nonlocal room
        try:
            for uri in pending:
                found[uri] = await _get(blobs, uri, max(room, 0))
                room -= len(found[uri])
                if failures:
                    return
        except (BlobNotFoundError, BlobAccessError, BlobTooLargeError, BlobStoreFailedError) as error:
            failures.append(error)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(READS_MAX, len(uris))):
            tasks.create_task(read(), name="read outputs of elements")
    if failures:
        raise failures[0]
    return found


async def _get(blobs: Blobs, uri: str, bytes_max: int) -> bytes:
    return await riding_out(lambda: blobs.get(uri, bytes_max), f"reading {uri}")
