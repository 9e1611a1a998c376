"""Carrying out Prepare: load what bindings look into, evaluate them, store the values where the node expects them.

What a task has put apart is loaded as well where an attribute path leads into it, and let go with the request; it is
passed on by reference everywhere else.
"""

import asyncio
from contextlib import AsyncExitStack

from wingbeat_propeller.core.bindings import BindingResolutionError, NeedsContentError, evaluate
from wingbeat_propeller.core.effects import Prepare
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import (
    INLINE_BYTES_MAX,
    Apart,
    MalformedLiteralMapError,
    Ref,
    Value,
    build_literal_map,
    split_literal_map,
)
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError

APART_BYTES_MAX = 64 << 20
"""Most bytes of values put apart that one node looks into; each is parsed as a whole."""
APART_AT_ONCE = 2
"""Requests at once that hold such values."""


class PreparationFailedError(Exception):
    """Inputs cannot be had; `failure` ends the node."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def prepare(blobs: Blobs, request: Prepare, apart: asyncio.Semaphore) -> dict[str, Value]:
    """Store the inputs that `request` asks for at its uri and return them: small values inline, others as Refs to it.

    Each source object is read once. `apart` gives turns to those that look into values put apart. Raises
    PreparationFailedError.
    """
    maps: dict[str, dict[str, bytes]] = {}
    try:
        values = await _evaluate(blobs, request, maps, apart)
        content = {var: await _content(blobs, value, maps) for var, value in values.items()}
        await riding_out(lambda: blobs.put(request.uri, build_literal_map(content)), f"writing {request.uri}")
    except BindingResolutionError as error:
        raise PreparationFailedError(Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", str(error))) from error
    except (BlobNotFoundError, MalformedLiteralMapError) as error:
        text = f"an upstream value cannot be read: {error}"
        raise PreparationFailedError(Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text)) from error
    except BlobStoreFailedError as error:
        raise PreparationFailedError(error.failure()) from error
    small = INLINE_BYTES_MAX // max(1, len(content))
    return {var: data if len(data) <= small else Ref(request.uri, var) for var, data in content.items()}


async def _evaluate(
    blobs: Blobs, request: Prepare, maps: dict[str, dict[str, bytes]], apart: asyncio.Semaphore
) -> dict[str, Value]:
    loaded: dict[Apart, bytes] = {}

    def at_hand(place: Ref | Apart) -> bytes | None:
        if isinstance(place, Apart):
            return loaded.get(place)
        return maps[place.uri][place.var] if place.uri in maps else None

    try:
        return evaluate(request.program, request.sources)
    except NeedsContentError as need:
        missing = need.refs
    async with AsyncExitStack() as turn:
        while True:  # every round loads something that no round before had
            for place in missing:
                if isinstance(place, Ref):
                    await _content(blobs, place, maps)
                    continue
                if not loaded:
                    await turn.enter_async_context(apart)
                loaded[place] = await _put_apart(blobs, place.uri, APART_BYTES_MAX - sum(map(len, loaded.values())))
            try:
                if loaded:
                    return await asyncio.to_thread(evaluate, request.program, request.sources, at_hand)
                return evaluate(request.program, request.sources, at_hand)
            except NeedsContentError as need:
                missing = need.refs


async def _put_apart(blobs: Blobs, uri: str, size_max: int) -> bytes:
    try:
        return await riding_out(lambda: blobs.get(uri, size_max), f"reading {uri}")
    except BlobNotFoundError as error:
        raise BindingResolutionError(f"a part of a value is bound that was stored at {uri}, which is gone") from error
    except BlobAccessError as error:
        raise BindingResolutionError(f"a part of a value is bound that cannot be read: {error}") from error
    except BlobTooLargeError as error:
        text = f"a part of the value at {uri} is bound, and no more than {APART_BYTES_MAX >> 20} MiB are looked into"
        raise PreparationFailedError(Failure(ErrorKind.USER, "InputsTooLarge", text)) from error


async def _content(blobs: Blobs, value: Value, maps: dict[str, dict[str, bytes]]) -> bytes:
    if isinstance(value, bytes):
        return value
    if value.uri not in maps:
        data = await riding_out(lambda: blobs.get(value.uri), f"reading {value.uri}")
        maps[value.uri] = split_literal_map(data)
    try:
        return maps[value.uri][value.var]
    except KeyError:
        raise BindingResolutionError(f"output '{value.var}' is not in {value.uri}") from None
