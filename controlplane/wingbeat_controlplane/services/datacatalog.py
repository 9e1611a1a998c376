"""DataCatalog of FlyteIDL: datasets, artifacts, tags and reservations, for engines beside ours."""

from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from wingbeat_catalog.datacatalog import requests
from wingbeat_catalog.datacatalog.artifacts import Artifacts, Handle
from wingbeat_catalog.datacatalog.datasets import Datasets
from wingbeat_catalog.keys import tag_key
from wingbeat_catalog.reservations import Claim, Held, Reservations
from wingbeat_controlplane.services.catalog_errors import catalog_answers
from wingbeat_controlplane.services.rpcs import CallContext


class DataCatalogServicer:
    """All rpcs of datacatalog.DataCatalog."""

    def __init__(self, datasets: Datasets, artifacts: Artifacts, reservations: Reservations) -> None:
        self._datasets = datasets
        self._artifacts = artifacts
        self._reservations = reservations

    async def CreateDataset(
        self, request: datacatalog_pb2.CreateDatasetRequest, context: CallContext
    ) -> datacatalog_pb2.CreateDatasetResponse:
        """Make a dataset."""
        with catalog_answers():
            await self._datasets.create(request.dataset)
        return datacatalog_pb2.CreateDatasetResponse()

    async def GetDataset(
        self, request: datacatalog_pb2.GetDatasetRequest, context: CallContext
    ) -> datacatalog_pb2.GetDatasetResponse:
        """One dataset."""
        with catalog_answers():
            return datacatalog_pb2.GetDatasetResponse(dataset=await self._datasets.get(request.dataset))

    async def CreateArtifact(
        self, request: datacatalog_pb2.CreateArtifactRequest, context: CallContext
    ) -> datacatalog_pb2.CreateArtifactResponse:
        """Make an artifact with its data."""
        with catalog_answers():
            if not request.HasField("artifact"):
                raise requests.missing("artifact")
            await self._artifacts.create(request.artifact)
        return datacatalog_pb2.CreateArtifactResponse()

    async def GetArtifact(
        self, request: datacatalog_pb2.GetArtifactRequest, context: CallContext
    ) -> datacatalog_pb2.GetArtifactResponse:
        """One artifact with its data, by id or tag."""
        with catalog_answers():
            return datacatalog_pb2.GetArtifactResponse(artifact=await self._artifacts.get(_handle(request)))

    async def AddTag(
        self, request: datacatalog_pb2.AddTagRequest, context: CallContext
    ) -> datacatalog_pb2.AddTagResponse:
        """Name an artifact."""
        with catalog_answers():
            if not request.HasField("tag"):
                raise requests.missing("tag")
            await self._artifacts.add_tag(request.tag)
        return datacatalog_pb2.AddTagResponse()

    async def UpdateArtifact(
        self, request: datacatalog_pb2.UpdateArtifactRequest, context: CallContext
    ) -> datacatalog_pb2.UpdateArtifactResponse:
        """Replace data and metadata of an artifact."""
        with catalog_answers():
            updated = await self._artifacts.update(_handle(request), request.data, request.metadata)
        return datacatalog_pb2.UpdateArtifactResponse(artifact_id=updated)

    async def ListArtifacts(
        self, request: datacatalog_pb2.ListArtifactsRequest, context: CallContext
    ) -> datacatalog_pb2.ListArtifactsResponse:
        """A page of a dataset's artifacts."""
        with catalog_answers():
            found, following = await self._artifacts.page(
                request.dataset, requests.artifact_filters(request.filter), requests.page(request.pagination)
            )
        return datacatalog_pb2.ListArtifactsResponse(artifacts=found, next_token=str(following))

    async def ListDatasets(
        self, request: datacatalog_pb2.ListDatasetsRequest, context: CallContext
    ) -> datacatalog_pb2.ListDatasetsResponse:
        """A page of datasets."""
        with catalog_answers():
            asked = requests.page(request.pagination)
            found = await self._datasets.page(requests.dataset_filters(request.filter), asked)
        return datacatalog_pb2.ListDatasetsResponse(datasets=found, next_token=str(asked.offset + len(found)))

    async def GetOrExtendReservation(
        self, request: datacatalog_pb2.GetOrExtendReservationRequest, context: CallContext
    ) -> datacatalog_pb2.GetOrExtendReservationResponse:
        """Take or extend a reservation, or hear who holds it, which is no error."""
        with catalog_answers():
            claim = _claim(request.reservation_id, request.owner_id)
            heartbeat_s = heartbeat_of(request.heartbeat_interval)
        (held,) = await self._reservations.reserve([claim], heartbeat_s)
        expires_at, heartbeat = times_of(held)
        reservation = datacatalog_pb2.Reservation(
            reservation_id=request.reservation_id,
            owner_id=held.owner,
            heartbeat_interval=heartbeat,
            expires_at=expires_at,
            metadata=datacatalog_pb2.Metadata(),
        )
        return datacatalog_pb2.GetOrExtendReservationResponse(reservation=reservation)

    async def ReleaseReservation(
        self, request: datacatalog_pb2.ReleaseReservationRequest, context: CallContext
    ) -> datacatalog_pb2.ReleaseReservationResponse:
        """Give up a reservation; one that is not the caller's is left alone."""
        with catalog_answers():
            claim = _claim(request.reservation_id, request.owner_id)
        await self._reservations.release([claim])
        return datacatalog_pb2.ReleaseReservationResponse()


def heartbeat_of(interval: duration_pb2.Duration) -> float:
    """Seconds between heartbeats that a client asks for; none, or less than nothing, means the longest allowed."""
    seconds = interval.seconds + interval.nanos / 1e9
    return seconds if seconds > 0 else float("inf")


def times_of(held: Held) -> tuple[timestamp_pb2.Timestamp, duration_pb2.Duration]:
    """When a reservation lapses, and its heartbeat."""
    expires_at = timestamp_pb2.Timestamp()
    expires_at.FromDatetime(held.expires_at)
    heartbeat = duration_pb2.Duration()
    heartbeat.FromTimedelta(held.heartbeat)
    return expires_at, heartbeat


def _claim(reservation: datacatalog_pb2.ReservationID, owner: str) -> Claim:
    dataset = requests.dataset_name(reservation.dataset_id)
    if not reservation.tag_name:
        raise requests.missing("tag name")
    if not owner:
        raise requests.missing("owner id")
    return Claim(tag_key(dataset.digest(), reservation.tag_name), owner)


def _handle(request: datacatalog_pb2.GetArtifactRequest | datacatalog_pb2.UpdateArtifactRequest) -> Handle:
    """Which artifact a request is about."""
    kind = request.WhichOneof("query_handle")
    if kind is None:
        raise requests.missing("one of artifact id/tag name")
    dataset = request.dataset if request.HasField("dataset") else None
    if kind == "artifact_id":
        if not request.artifact_id:
            raise requests.missing("artifact id")
        return Handle(dataset, request.artifact_id, "")
    if not request.tag_name:
        raise requests.missing("tag name")
    if dataset is None:
        raise requests.missing("dataset")
    return Handle(dataset, "", request.tag_name)
