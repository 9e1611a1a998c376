"""Between what the core says of a call and what the cache wants of it.

Values that stand in the blob store are read, and outputs of a hit that are too large for a row are stored where the
node expects them.
"""

from wingbeat_propeller.core.caching import CacheStatus
from wingbeat_propeller.core.effects import Keep, LookUp
from wingbeat_propeller.core.events import LookedUp
from wingbeat_propeller.core.values import (
    ELEMENT_INLINE_BYTES_MAX,
    INLINE_BYTES_MAX,
    MalformedLiteralMapError,
    Ref,
    split_literal_map,
)
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.ports.cache import CacheAnswer, CacheAsk, CacheHit, CacheMiss

BYTES_MAX = 64 << 20
"""Largest LiteralMap that is read for the cache, be it inputs for a key or outputs to be kept."""


class UnreadableError(Exception):
    """What the cache needs cannot be read, or is too large; the text says so."""


async def ask_of(blobs: Blobs, call: LookUp) -> CacheAsk:
    """The call with its inputs at hand. Raises UnreadableError."""
    inputs = await _read(blobs, call.inputs_uri) if call.inputs is None else call.inputs
    return CacheAsk(call.task, inputs)


async def outputs_of(blobs: Blobs, keep: Keep) -> bytes:
    """What the call came to. Raises UnreadableError."""
    return await _read(blobs, keep.outputs_uri) if keep.outputs is None else keep.outputs


def is_at_hand(request: LookUp | Keep) -> bool:
    """Whether nothing must be read for it."""
    if isinstance(request, Keep):
        return request.outputs is not None and request.call.inputs is not None
    return request.inputs is not None


async def looked_up(blobs: Blobs, call: LookUp, answer: CacheAnswer, now: float) -> LookedUp:
    """What the core is told. A hit that cannot be used for the blob store's sake is told as a failure to look up."""
    if isinstance(answer, CacheMiss):
        return LookedUp(now, call.ref, CacheStatus.MISS, answer.catalog)
    if not isinstance(answer, CacheHit):
        return LookedUp(now, call.ref, CacheStatus.LOOKUP_FAILURE, answer.catalog)
    outputs, catalog = answer.outputs, answer.catalog
    inline_max = INLINE_BYTES_MAX if call.ref.element < 0 else ELEMENT_INLINE_BYTES_MAX
    try:
        literals = split_literal_map(outputs)
        if len(outputs) <= inline_max:
            return LookedUp(now, call.ref, CacheStatus.HIT, catalog, literals, outputs, answer.source)
        uri = call.outputs_uri
        await riding_out(lambda: blobs.put(uri, outputs), f"writing {uri}")
    except (BlobStoreFailedError, BlobAccessError, MalformedLiteralMapError):
        return LookedUp(now, call.ref, CacheStatus.LOOKUP_FAILURE, catalog)
    values = {name: Ref(uri, name) for name in literals}
    return LookedUp(now, call.ref, CacheStatus.HIT, catalog, values, source=answer.source)


async def _read(blobs: Blobs, uri: str) -> bytes:
    try:
        return await riding_out(lambda: blobs.get(uri, BYTES_MAX), f"reading {uri}")
    except (BlobStoreFailedError, BlobNotFoundError, BlobAccessError, BlobTooLargeError) as error:
        raise UnreadableError(str(error)) from error
