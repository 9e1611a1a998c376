"""Carrying out Prepare: load what bindings look into, evaluate them, store the values where the node expects them."""

from wingbeat_propeller.core.bindings import BindingResolutionError, NeedsContentError, evaluate
from wingbeat_propeller.core.effects import Prepare
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
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs


class PreparationFailedError(Exception):
    """Inputs cannot be had; `failure` ends the node."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def prepare(blobs: Blobs, request: Prepare) -> dict[str, Value]:
    """Store the inputs that `request` asks for at its uri and return them: small values inline, others as Refs to it.

    Each source object is read once. Raises PreparationFailedError.
    """
    maps: dict[str, dict[str, bytes]] = {}
    try:
        values = await _evaluate(blobs, request, maps)
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


async def _evaluate(blobs: Blobs, request: Prepare, maps: dict[str, dict[str, bytes]]) -> dict[str, Value]:
    def at_hand(ref: Ref) -> bytes | None:
        return maps[ref.uri][ref.var] if ref.uri in maps else None

    try:
        return evaluate(request.program, request.sources)
    except NeedsContentError as need:
        for ref in need.refs:
            await _content(blobs, ref, maps)
        return evaluate(request.program, request.sources, at_hand)


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
