"""DataCatalog and CacheService over gRPC, as a foreign engine uses them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable

import asyncpg
import grpc
import pytest
from flyteidl.cacheservice import cacheservice_pb2 as cs
from flyteidl.cacheservice import cacheservice_pb2_grpc
from flyteidl.core import catalog_pb2, identifier_pb2, literals_pb2
from flyteidl.datacatalog import datacatalog_pb2 as dc
from flyteidl.datacatalog import datacatalog_pb2_grpc
from google.protobuf import duration_pb2
from tests.integration.catalog.conftest import FILE, SOURCE, ask, entry, file, integer, task, text, values

from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import CatalogOptions
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.roles.catalog import catalog_services
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.ports.cache import CacheClaim, CacheHit, CacheMiss, CachePut, CacheReservation

DATASET = dc.DatasetID(project="p", domain="d", name="flyte_task-t", version="1-abc-def")


@pytest.fixture
async def channel(catalog_pool: asyncpg.Pool, blobs: FolderBlobs) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to both services; what is larger than 200 bytes goes to the blob store."""
    services = catalog_services(catalog_pool, catalog_pool, blobs, CatalogOptions(inline_bytes_max=200))
    server = GrpcServer(
        {name: rpc for service, servicer in services for name, rpc in rpcs_of(service, servicer).items()}, GrpcOptions()
    )
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
            yield opened
    finally:
        await server.stop(0)


@pytest.fixture
def catalog(channel: grpc.aio.Channel) -> datacatalog_pb2_grpc.DataCatalogStub:
    """A client of DataCatalog."""
    return datacatalog_pb2_grpc.DataCatalogStub(channel)


@pytest.fixture
def outputs(channel: grpc.aio.Channel) -> cacheservice_pb2_grpc.CacheServiceStub:
    """A client of CacheService."""
    return cacheservice_pb2_grpc.CacheServiceStub(channel)


async def _refused(call: Awaitable[object], code: grpc.StatusCode, says: str = "") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    assert says in (caught.value.details() or "")


def _artifact(identifier: str, **data: literals_pb2.Literal) -> dc.Artifact:
    return dc.Artifact(
        id=identifier,
        dataset=DATASET,
        data=[dc.ArtifactData(name=name, value=value) for name, value in data.items()],
        metadata=dc.Metadata(key_map={"execution-name": "e", "exec-node": "n", "exec-attempt": "2", "other": "x"}),
    )


async def _create(catalog: datacatalog_pb2_grpc.DataCatalogStub, *identifiers: str) -> None:
    for identifier in identifiers:
        await catalog.CreateArtifact(dc.CreateArtifactRequest(artifact=_artifact(identifier, o0=text(identifier))))


async def test_datasets(catalog: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    """A dataset is made once, read with metadata, keys and an id of its own, and not found under another name."""
    dataset = dc.Dataset(id=DATASET, metadata=dc.Metadata(key_map={"task-version": "7"}), partitionKeys=["day", "hour"])
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dataset))
    await _refused(catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dataset)), grpc.StatusCode.ALREADY_EXISTS)
    found = (await catalog.GetDataset(dc.GetDatasetRequest(dataset=DATASET))).dataset
    assert uuid.UUID(found.id.UUID)
    found.id.UUID = ""
    assert found == dataset
    other = dc.DatasetID(project="p", domain="d", name="flyte_task-t", version="2")
    await _refused(catalog.GetDataset(dc.GetDatasetRequest(dataset=other)), grpc.StatusCode.NOT_FOUND, "dataset")
    for field in ("project", "domain", "name", "version"):
        lacking = dc.DatasetID()
        lacking.CopyFrom(DATASET)
        lacking.ClearField(field)
        await _refused(
            catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=lacking))),
            grpc.StatusCode.INVALID_ARGUMENT,
            f"missing dataset {field}",
        )
    twice = dc.Dataset(id=other, partitionKeys=["a", "a"])
    await _refused(
        catalog.CreateDataset(dc.CreateDatasetRequest(dataset=twice)), grpc.StatusCode.INVALID_ARGUMENT, "not unique"
    )
    nul = dc.Dataset(id=dc.DatasetID(project="p\0", domain="d", name="n", version="v"))
    await _refused(catalog.CreateDataset(dc.CreateDatasetRequest(dataset=nul)), grpc.StatusCode.INVALID_ARGUMENT, "NUL")


async def test_artifacts_and_tags(catalog: datacatalog_pb2_grpc.DataCatalogStub, blobs: FolderBlobs) -> None:
    """An artifact is found by id and tag with data, metadata and tags; a name is given once in a dataset."""
    create = dc.CreateArtifactRequest(artifact=_artifact("one", o0=text("x" * 1000), o1=integer(1)))
    await _refused(catalog.CreateArtifact(create), grpc.StatusCode.NOT_FOUND, "dataset")
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET)))
    await catalog.CreateArtifact(create)
    await _refused(catalog.CreateArtifact(create), grpc.StatusCode.ALREADY_EXISTS)
    assert len(await blobs.list(f"{blobs.base}/cache/")) == 1
    by_id = dc.GetArtifactRequest(dataset=DATASET, artifact_id="one")
    found = (await catalog.GetArtifact(by_id)).artifact
    assert (list(found.data), found.metadata) == (list(create.artifact.data), create.artifact.metadata)
    assert found.created_at.seconds
    assert (await catalog.GetArtifact(dc.GetArtifactRequest(artifact_id="one"))).artifact == found
    by_tag = dc.GetArtifactRequest(dataset=DATASET, tag_name="tag")
    await _refused(catalog.GetArtifact(by_tag), grpc.StatusCode.NOT_FOUND)
    tag = dc.Tag(name="tag", artifact_id="one", dataset=DATASET)
    await catalog.AddTag(dc.AddTagRequest(tag=tag))
    await _create(catalog, "two")
    for identifier in ("one", "two"):
        again = dc.Tag(name="tag", artifact_id=identifier, dataset=DATASET)
        await _refused(catalog.AddTag(dc.AddTagRequest(tag=again)), grpc.StatusCode.ALREADY_EXISTS)
    absent = dc.Tag(name="other", artifact_id="three", dataset=DATASET)
    await _refused(catalog.AddTag(dc.AddTagRequest(tag=absent)), grpc.StatusCode.NOT_FOUND, "three")
    tagged = (await catalog.GetArtifact(by_tag)).artifact
    assert [(one.name, one.artifact_id) for one in tagged.tags] == [("tag", "one")]


async def test_updates_replace_everything_but_the_id(
    catalog: datacatalog_pb2_grpc.DataCatalogStub, blobs: FolderBlobs
) -> None:
    """By id or tag: data and metadata are those of the request, tags stay, large data that went leave no object."""
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET)))
    await catalog.CreateArtifact(dc.CreateArtifactRequest(artifact=_artifact("one", o0=text("x" * 1000))))
    await catalog.AddTag(dc.AddTagRequest(tag=dc.Tag(name="tag", artifact_id="one", dataset=DATASET)))
    update = dc.UpdateArtifactRequest(
        dataset=DATASET,
        tag_name="tag",
        data=[dc.ArtifactData(name="o1", value=integer(2))],
        metadata=dc.Metadata(key_map={"execution-name": "later"}),
    )
    assert (await catalog.UpdateArtifact(update)).artifact_id == "one"
    assert await blobs.list(f"{blobs.base}/cache/") == []
    found = (await catalog.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="one"))).artifact
    assert (list(found.data), found.metadata) == (list(update.data), update.metadata)
    assert [tag.name for tag in found.tags] == ["tag"]
    missing = dc.UpdateArtifactRequest(dataset=DATASET, artifact_id="two", data=update.data)
    await _refused(catalog.UpdateArtifact(missing), grpc.StatusCode.NOT_FOUND)


_SENSELESS: list[tuple[str, object, str]] = [
    ("CreateArtifact", dc.CreateArtifactRequest(), "missing artifact"),
    ("CreateArtifact", dc.CreateArtifactRequest(artifact=_artifact("", o0=integer(1))), "missing artifact id"),
    ("CreateArtifact", dc.CreateArtifactRequest(artifact=_artifact("one")), "missing artifact data"),
    ("GetArtifact", dc.GetArtifactRequest(dataset=DATASET), "one of"),
    ("GetArtifact", dc.GetArtifactRequest(dataset=DATASET, artifact_id=""), "missing artifact id"),
    ("GetArtifact", dc.GetArtifactRequest(tag_name="x"), "missing dataset"),
    ("AddTag", dc.AddTagRequest(), "missing tag"),
    ("AddTag", dc.AddTagRequest(tag=dc.Tag(dataset=DATASET, artifact_id="x")), "missing tag name"),
    ("AddTag", dc.AddTagRequest(tag=dc.Tag(dataset=DATASET, name="x")), "missing artifact id"),
    ("UpdateArtifact", dc.UpdateArtifactRequest(dataset=DATASET, artifact_id="x"), "missing artifact data"),
    ("ListDatasets", dc.ListDatasetsRequest(pagination=dc.PaginationOptions(token="x")), "invalid token"),
    ("ListDatasets", dc.ListDatasetsRequest(pagination=dc.PaginationOptions(token="-1")), "invalid token"),
    ("ListDatasets", dc.ListDatasetsRequest(pagination=dc.PaginationOptions(token="9" * 5_000)), "invalid token"),
    ("ListArtifacts", dc.ListArtifactsRequest(), "missing dataset project"),
    ("GetOrExtendReservation", dc.GetOrExtendReservationRequest(owner_id="x"), "missing dataset project"),
    (
        "GetOrExtendReservation",
        dc.GetOrExtendReservationRequest(reservation_id=dc.ReservationID(dataset_id=DATASET, tag_name="x")),
        "missing owner id",
    ),
]
"""Rpc, request, and what the answer says."""


async def test_what_makes_no_sense_is_refused(catalog: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    """A request that lacks something is INVALID_ARGUMENT with a sentence."""
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET)))
    for method, request, says in _SENSELESS:
        await _refused(getattr(catalog, method)(request), grpc.StatusCode.INVALID_ARGUMENT, says)


async def test_partitions(catalog: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    """Artifacts have a value for each key of their dataset, and are found by them."""
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET, partitionKeys=["day", "hour"])))

    def artifact(identifier: str, **parts: str) -> dc.CreateArtifactRequest:
        made = _artifact(identifier, o0=integer(1))
        made.partitions.extend(dc.Partition(key=key, value=value) for key, value in parts.items())
        return dc.CreateArtifactRequest(artifact=made)

    for bad in (
        artifact("x"),
        artifact("x", day="1"),
        artifact("x", day="1", minute="2"),
        artifact("x", day="", hour=""),
    ):
        await _refused(catalog.CreateArtifact(bad), grpc.StatusCode.INVALID_ARGUMENT, "partition")
    await catalog.CreateArtifact(artifact("a", day="1", hour="1"))
    await catalog.CreateArtifact(artifact("b", day="1", hour="2"))
    await catalog.CreateArtifact(artifact("c", day="2", hour="2"))

    async def found(**parts: str) -> list[str]:
        filters = [
            dc.SinglePropertyFilter(
                partition_filter=dc.PartitionPropertyFilter(key_val=dc.KeyValuePair(key=key, value=value))
            )
            for key, value in parts.items()
        ]
        request = dc.ListArtifactsRequest(dataset=DATASET, filter=dc.FilterExpression(filters=filters))
        return [one.id for one in (await catalog.ListArtifacts(request)).artifacts]

    assert await found() == ["c", "b", "a"]
    assert await found(day="1") == ["b", "a"]
    assert await found(day="1", hour="2") == ["b"]
    assert await found(day="3") == []
    got = (await catalog.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="b"))).artifact
    assert {part.key: part.value for part in got.partitions} == {"day": "1", "hour": "2"}


async def test_lists_page_by_page(catalog: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    """Newest first unless asked otherwise; the token, always there, leads on; filters narrow the list."""
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET)))
    names = [f"a{number}" for number in range(5)]
    await _create(catalog, *names)
    await catalog.AddTag(dc.AddTagRequest(tag=dc.Tag(name="tag", artifact_id="a3", dataset=DATASET)))
    request = dc.ListArtifactsRequest(dataset=DATASET, pagination=dc.PaginationOptions(limit=2))
    seen: list[str] = []
    for _ in range(4):
        page = await catalog.ListArtifacts(request)
        seen += [one.id for one in page.artifacts]
        assert all(one.data for one in page.artifacts)
        request.pagination.token = page.next_token
    assert seen == names[::-1]
    assert request.pagination.token == "5"
    request.pagination.CopyFrom(dc.PaginationOptions(sortOrder=dc.PaginationOptions.ASCENDING))
    assert [one.id for one in (await catalog.ListArtifacts(request)).artifacts] == names
    for narrowed, expected in (
        (dc.SinglePropertyFilter(tag_filter=dc.TagPropertyFilter(tag_name="tag")), ["a3"]),
        (dc.SinglePropertyFilter(tag_filter=dc.TagPropertyFilter(tag_name="no")), []),
        (dc.SinglePropertyFilter(artifact_filter=dc.ArtifactPropertyFilter(artifact_id="a1")), ["a1"]),
    ):
        asked = dc.ListArtifactsRequest(dataset=DATASET, filter=dc.FilterExpression(filters=[narrowed]))
        assert [one.id for one in (await catalog.ListArtifacts(asked)).artifacts] == expected
    by_dataset = dc.SinglePropertyFilter(dataset_filter=dc.DatasetPropertyFilter(project="p"))
    asked = dc.ListArtifactsRequest(dataset=DATASET, filter=dc.FilterExpression(filters=[by_dataset]))
    await _refused(catalog.ListArtifacts(asked), grpc.StatusCode.INVALID_ARGUMENT, "by dataset")
    unknown = dc.DatasetID(project="p", domain="d", name="n", version="v")
    await _refused(catalog.ListArtifacts(dc.ListArtifactsRequest(dataset=unknown)), grpc.StatusCode.NOT_FOUND)

    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=unknown)))
    everything = await catalog.ListDatasets(dc.ListDatasetsRequest())
    assert [one.id.name for one in everything.datasets] == ["n", "flyte_task-t"]
    assert everything.next_token == "2"
    by_name = dc.SinglePropertyFilter(dataset_filter=dc.DatasetPropertyFilter(name="n"))
    narrowed_list = dc.ListDatasetsRequest(filter=dc.FilterExpression(filters=[by_dataset, by_name]))
    assert [one.id.name for one in (await catalog.ListDatasets(narrowed_list)).datasets] == ["n"]
    by_tag = dc.SinglePropertyFilter(tag_filter=dc.TagPropertyFilter(tag_name="x"))
    bad = dc.ListDatasetsRequest(filter=dc.FilterExpression(filters=[by_tag]))
    await _refused(catalog.ListDatasets(bad), grpc.StatusCode.INVALID_ARGUMENT, "by tag")


async def test_a_foreign_engine_and_ours_share_entries(
    catalog: datacatalog_pb2_grpc.DataCatalogStub, cache: PostgresCache, catalog_pool: asyncpg.Pool
) -> None:
    """What Flyte's propeller stores, by its three calls, is a hit of ours with its source; and the other way round."""
    call = ask(task(), a=integer(3))
    (miss,) = await cache.look_up([call])
    assert isinstance(miss, CacheMiss)
    dataset = _dataset_of(miss.catalog)
    metadata = dc.Metadata(key_map={"task-version": "9"})
    await catalog.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=dataset, metadata=metadata)))
    artifact = _artifact("theirs", o0=text("made by another"))
    artifact.dataset.CopyFrom(dataset)
    await catalog.CreateArtifact(dc.CreateArtifactRequest(artifact=artifact))
    await catalog.AddTag(
        dc.AddTagRequest(tag=dc.Tag(name=_tag_of(miss.catalog), artifact_id="theirs", dataset=dataset))
    )
    (hit,) = await cache.look_up([call])
    assert isinstance(hit, CacheHit)
    assert hit.outputs == values(o0=text("made by another"))
    source = _metadata(hit.catalog).source_task_execution
    assert (source.task_id.version, source.retry_attempt) == ("9", 2)
    assert source.node_execution_id.execution_id == identifier_pb2.WorkflowExecutionIdentifier(
        project="p", domain="d", name="e"
    )
    await cache.put([entry(ask(task(), a=integer(4)), "ours")])
    (ours,) = await cache.look_up([ask(task(), a=integer(4))])
    assert isinstance(ours, CacheHit)
    read = await catalog.GetArtifact(dc.GetArtifactRequest(dataset=dataset, tag_name=_tag_of(ours.catalog)))
    assert [(one.name, one.value) for one in read.artifact.data] == [("o0", text("ours"))]
    assert read.artifact.metadata.key_map == {
        "exec-project": "p",
        "exec-domain": "d",
        "execution-name": "exec",
        "exec-node": "n0",
        "exec-attempt": "0",
    }
    # A foreign entry that does not fit the task is none, and goes.
    update = dc.UpdateArtifactRequest(
        dataset=dataset, artifact_id="theirs", data=[dc.ArtifactData(name="o0", value=integer(1))]
    )
    await catalog.UpdateArtifact(update)
    (refused,) = await cache.look_up([call])
    assert isinstance(refused, CacheMiss)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1


async def test_what_is_gone_or_poisoned_is_not_found(
    catalog: datacatalog_pb2_grpc.DataCatalogStub, cache: PostgresCache, blobs: FolderBlobs, catalog_pool: asyncpg.Pool
) -> None:
    """A client gets neither outputs whose files are gone nor what somebody has put in their place."""
    makes = task(outputs={"o0": FILE})
    await blobs.put(f"{blobs.base}/file", b"1")
    calls = [ask(makes, a=integer(number)) for number in range(2)]
    await cache.put([CachePut(call, values(o0=file(f"{blobs.base}/file")), SOURCE) for call in calls])
    gone, poisoned = [
        dc.GetArtifactRequest(dataset=_dataset_of(hit.catalog), tag_name=_tag_of(hit.catalog))
        for hit in await cache.look_up(calls)
    ]
    await catalog.GetArtifact(gone)
    await blobs.delete(f"{blobs.base}/file")
    await _refused(catalog.GetArtifact(gone), grpc.StatusCode.NOT_FOUND)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
    await catalog_pool.execute("UPDATE cache_artifacts SET data = ''")
    await _refused(catalog.GetArtifact(poisoned), grpc.StatusCode.NOT_FOUND)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 0


async def test_reservations_of_datacatalog(catalog: datacatalog_pb2_grpc.DataCatalogStub, cache: PostgresCache) -> None:
    """A hundred clients and our own engine race: all hear of one owner; who is not it releases nothing."""
    (miss,) = await cache.look_up([ask(task(), a=integer(3))])
    identifier = dc.ReservationID(dataset_id=_dataset_of(miss.catalog), tag_name=_tag_of(miss.catalog))

    def request(owner: str, seconds: int = 60) -> dc.GetOrExtendReservationRequest:
        return dc.GetOrExtendReservationRequest(
            reservation_id=identifier, owner_id=owner, heartbeat_interval=duration_pb2.Duration(seconds=seconds)
        )

    answers = await asyncio.gather(*(catalog.GetOrExtendReservation(request(f"o{number}")) for number in range(100)))
    owners = {answer.reservation.owner_id for answer in answers}
    assert len(owners) == 1
    reservation = answers[0].reservation
    assert reservation.reservation_id == identifier
    assert reservation.heartbeat_interval.seconds == 10
    await catalog.ReleaseReservation(dc.ReleaseReservationRequest(reservation_id=identifier, owner_id="somebody else"))
    (ours,) = await cache.reserve([CacheClaim(miss.catalog, "ours")], 10)
    assert isinstance(ours, CacheReservation)
    assert {ours.owner} == owners
    (owner,) = owners
    extended = (await catalog.GetOrExtendReservation(request(owner, 2))).reservation
    assert (extended.owner_id, extended.heartbeat_interval.seconds) == (owner, 2)
    await catalog.ReleaseReservation(dc.ReleaseReservationRequest(reservation_id=identifier, owner_id=owner))
    assert (await catalog.GetOrExtendReservation(request("next"))).reservation.owner_id == "next"
    await catalog.ReleaseReservation(dc.ReleaseReservationRequest(reservation_id=identifier, owner_id="nobody"))


async def test_outputs_by_foreign_keys(
    outputs: cacheservice_pb2_grpc.CacheServiceStub, blobs: FolderBlobs, catalog_pool: asyncpg.Pool
) -> None:
    """Kept once unless overwritten, read with times, deleted; NOT_FOUND before and after, and when poisoned or gone."""
    get = cs.GetCacheRequest(key="k")
    await _refused(outputs.Get(get), grpc.StatusCode.NOT_FOUND)
    source = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, name="t")
    first = cs.CachedOutput(
        output_literals=literals_pb2.LiteralMap(literals={"o0": text("x" * 500)}),
        metadata=cs.Metadata(source_identifier=source, key_map=cs.KeyMapMetadata(values={"a": "b"})),
    )
    await outputs.Put(cs.PutCacheRequest(key="k", output=first))
    await _refused(outputs.Put(cs.PutCacheRequest(key="k", output=first)), grpc.StatusCode.ALREADY_EXISTS)
    assert len(await blobs.list(f"{blobs.base}/cache/")) == 1
    found = (await outputs.Get(get)).output
    assert found.metadata.created_at.seconds > 0
    found.metadata.ClearField("created_at")
    found.metadata.ClearField("last_updated_at")
    assert found == first
    await blobs.put(f"{blobs.base}/file", b"1")
    second = cs.CachedOutput(output_uri=f"{blobs.base}/file")
    await outputs.Put(cs.PutCacheRequest(key="k", output=second, overwrite=True))
    assert await blobs.list(f"{blobs.base}/cache/") == []
    assert (await outputs.Get(get)).output.output_uri == f"{blobs.base}/file"
    await blobs.delete(f"{blobs.base}/file")
    await _refused(outputs.Get(get), grpc.StatusCode.NOT_FOUND)
    await outputs.Put(cs.PutCacheRequest(key="k", output=second))
    await catalog_pool.execute("UPDATE cache_outputs SET output = output || '\\x00'")
    await _refused(outputs.Get(get), grpc.StatusCode.NOT_FOUND)
    await outputs.Put(cs.PutCacheRequest(key="k", output=first, overwrite=True))
    await outputs.Delete(cs.DeleteCacheRequest(key="k"))
    await _refused(outputs.Delete(cs.DeleteCacheRequest(key="k")), grpc.StatusCode.NOT_FOUND)
    assert await blobs.list(f"{blobs.base}/cache/") == []
    for call in (
        outputs.Get(cs.GetCacheRequest()),
        outputs.Delete(cs.DeleteCacheRequest()),
        outputs.Put(cs.PutCacheRequest(output=first)),
        outputs.Put(cs.PutCacheRequest(key="k")),
        outputs.Put(cs.PutCacheRequest(key="k", output=cs.CachedOutput(output_uri=""))),
        outputs.GetOrExtendReservation(cs.GetOrExtendReservationRequest(key="k")),
        outputs.ReleaseReservation(cs.ReleaseReservationRequest(owner_id="o")),
    ):
        await _refused(call, grpc.StatusCode.INVALID_ARGUMENT, "missing")


async def test_reservations_of_cacheservice(
    outputs: cacheservice_pb2_grpc.CacheServiceStub, catalog_pool: asyncpg.Pool
) -> None:
    """The first owner holds a key until it releases it or is silent for three heartbeats."""

    async def ask_for(owner: str) -> cs.Reservation:
        request = cs.GetOrExtendReservationRequest(key="k", owner_id=owner)
        return (await outputs.GetOrExtendReservation(request)).reservation

    answers = await asyncio.gather(*(ask_for(f"o{number}") for number in range(50)))
    assert len({answer.owner_id for answer in answers}) == 1
    first = answers[0].owner_id
    assert (await ask_for(first)).owner_id == (await ask_for("another")).owner_id == first
    await outputs.ReleaseReservation(cs.ReleaseReservationRequest(key="k", owner_id="another"))
    assert (await ask_for("another")).owner_id == first
    await catalog_pool.execute("UPDATE cache_reservations SET expires_at = now() - interval '1 s'")
    assert (await ask_for("another")).owner_id == "another"
    await outputs.ReleaseReservation(cs.ReleaseReservationRequest(key="k", owner_id="another"))
    assert (await ask_for(first)).owner_id == first


async def test_a_locked_table_is_unavailable(hasty_pool: asyncpg.Pool, blobs: FolderBlobs, pool: asyncpg.Pool) -> None:
    """Clients hear soon that they may try again."""
    service, servicer = catalog_services(hasty_pool, pool, blobs, CatalogOptions())[0]
    rpc = rpcs_of(service, servicer)["/datacatalog.DataCatalog/GetDataset"]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE cache_datasets IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ApiError) as caught:
            await rpc.answer(dc.GetDatasetRequest(dataset=DATASET), NoContext())
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


class NoContext:
    """What a handler may know of a caller that is none."""

    def peer(self) -> str:
        """No address."""
        return ""

    def invocation_metadata(self) -> None:
        """No metadata."""


def _metadata(catalog: bytes) -> catalog_pb2.CatalogMetadata:
    return catalog_pb2.CatalogMetadata.FromString(catalog)


def _dataset_of(catalog: bytes) -> dc.DatasetID:
    found = _metadata(catalog).dataset_id
    return dc.DatasetID(project=found.project, domain=found.domain, name=found.name, version=found.version)


def _tag_of(catalog: bytes) -> str:
    return _metadata(catalog).artifact_tag.name
