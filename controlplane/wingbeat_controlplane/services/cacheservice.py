"""CacheService of FlyteIDL: outputs and reservations under keys that are the clients' own."""

from flyteidl.cacheservice import cacheservice_pb2

from wingbeat_catalog.cacheservice.outputs import CachedOutputs, reservation_key
from wingbeat_catalog.reservations import Claim, Reservations
from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.services.catalog_errors import catalog_answers
from wingbeat_controlplane.services.datacatalog import heartbeat_of, times_of
from wingbeat_controlplane.services.rpcs import CallContext


class CacheServicer:
    """All rpcs of flyteidl.cacheservice.CacheService."""

    def __init__(self, outputs: CachedOutputs, reservations: Reservations) -> None:
        self._outputs = outputs
        self._reservations = reservations

    async def Get(
        self, request: cacheservice_pb2.GetCacheRequest, context: CallContext
    ) -> cacheservice_pb2.GetCacheResponse:
        """What is kept under a key."""
        with catalog_answers():
            return cacheservice_pb2.GetCacheResponse(output=await self._outputs.get(request.key))

    async def Put(
        self, request: cacheservice_pb2.PutCacheRequest, context: CallContext
    ) -> cacheservice_pb2.PutCacheResponse:
        """Keep an output."""
        with catalog_answers():
            await self._outputs.put(request.key, request.output, overwrite=request.overwrite)
        return cacheservice_pb2.PutCacheResponse()

    async def Delete(
        self, request: cacheservice_pb2.DeleteCacheRequest, context: CallContext
    ) -> cacheservice_pb2.DeleteCacheResponse:
        """Remove an output."""
        with catalog_answers():
            await self._outputs.delete(request.key)
        return cacheservice_pb2.DeleteCacheResponse()

    async def GetOrExtendReservation(
        self, request: cacheservice_pb2.GetOrExtendReservationRequest, context: CallContext
    ) -> cacheservice_pb2.GetOrExtendReservationResponse:
        """Take or extend a reservation, or hear who holds it, which is no error."""
        claim = _claim(request.key, request.owner_id)
        (held,) = await self._reservations.reserve([claim], heartbeat_of(request.heartbeat_interval))
        expires_at, heartbeat = times_of(held)
        reservation = cacheservice_pb2.Reservation(
            key=request.key, owner_id=held.owner, heartbeat_interval=heartbeat, expires_at=expires_at
        )
        return cacheservice_pb2.GetOrExtendReservationResponse(reservation=reservation)

    async def ReleaseReservation(
        self, request: cacheservice_pb2.ReleaseReservationRequest, context: CallContext
    ) -> cacheservice_pb2.ReleaseReservationResponse:
        """Give up a reservation; one that is not the caller's is left alone."""
        await self._reservations.release([_claim(request.key, request.owner_id)])
        return cacheservice_pb2.ReleaseReservationResponse()


def _claim(key: str, owner: str) -> Claim:
    if not key:
        raise missing("key")
    if not owner:
        raise missing("owner id")
    return Claim(reservation_key(key), owner)
