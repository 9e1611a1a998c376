"""The registry of artifacts over real rpcs, and what fills it, against a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from flyteidl.admin import task_pb2
from flyteidl.core import artifact_id_pb2, identifier_pb2, literals_pb2, types_pb2
from tests.integration.journal.rows import insert_executions, insert_workflow
from tests.unit.compiler.test_flytekit_workflows import compiled

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts import elements
from wingbeat_catalog.artifacts.queries import ArtifactQueries
from wingbeat_catalog.artifacts.registrar import BATCH_MAX, ArtifactRegistrar
from wingbeat_catalog.artifacts.store import ArtifactStore
from wingbeat_controlplane.services.artifacts import ArtifactServicer
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.compiler.mapped_task import mapped_task
from wingbeat_propeller.core.plan import NodeKind

KEY = artifact_id_pb2.ArtifactKey(project="flytesnacks", domain="development", name="model")
SERVICE = artifacts_pb2.DESCRIPTOR.services_by_name["ArtifactRegistry"]


class Registry:
    """A client by name of the rpc."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __call__(self, rpc: str, request: Any, answer: Any) -> Any:
        """One call."""
        method = self._channel.unary_unary(
            f"/flyteidl.artifact.ArtifactRegistry/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await method(request)


@pytest.fixture
def store(pool: asyncpg.Pool, tmp_path: Path) -> ArtifactStore:
    """Artifacts of the test's database."""
    return ArtifactStore(pool, FolderBlobs(tmp_path))


@pytest.fixture
def registrar(pool: asyncpg.Pool, tmp_path: Path, store: ArtifactStore) -> ArtifactRegistrar:
    """Works off its outbox."""
    return ArtifactRegistrar(pool, FolderBlobs(tmp_path), store)


@pytest.fixture
async def registry(store: ArtifactStore, registrar: ArtifactRegistrar) -> AsyncIterator[Registry]:
    """A client of a running server."""

    async def any_project(_project: str, _domain: str) -> None:
        return None

    servicer = ArtifactServicer(store, ArtifactQueries(store, registrar), any_project, lambda _: "me")
    server = GrpcServer(rpcs_of(SERVICE, servicer), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Registry(channel)
    finally:
        await server.stop(0)


def _spec(number: int) -> artifacts_pb2.ArtifactSpec:
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=number)))
    return artifacts_pb2.ArtifactSpec(value=literal, type=types_pb2.LiteralType(simple=types_pb2.INTEGER))


async def _create(registry: Registry, version: str, number: int = 1, **more: Any) -> artifacts_pb2.Artifact:
    request = artifacts_pb2.CreateArtifactRequest(artifact_key=KEY, version=version, spec=_spec(number), **more)
    return (await registry("CreateArtifact", request, artifacts_pb2.CreateArtifactResponse)).artifact


async def _refused(registry: Registry, rpc: str, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await registry(rpc, request, artifacts_pb2.RegisterResponse)
    return caught.value.code(), caught.value.details() or ""


async def _versions(registry: Registry) -> list[str]:
    request = artifacts_pb2.SearchArtifactsRequest(artifact_key=KEY)
    found = await registry("SearchArtifacts", request, artifacts_pb2.SearchArtifactsResponse)
    return [artifact.artifact_id.version for artifact in found.artifacts]


async def test_create_get_search(registry: Registry) -> None:
    """What was created is got by version, alias, partitions and URI, and found in pages, newest first."""
    for number in range(5):
        made = await _create(registry, f"v{number}", number, partitions={"region": "ab"[number % 2]}, tag="last")
    assert (made.source.principal, list(made.tags)) == ("me", ["last"])
    tag = artifact_id_pb2.ArtifactTag(artifact_key=KEY, value=artifact_id_pb2.LabelValue(static_value="last"))
    partitions = artifact_id_pb2.Partitions(value={"region": artifact_id_pb2.LabelValue(static_value="b")})
    for query, number in (
        ({"artifact_id": artifact_id_pb2.ArtifactID(artifact_key=KEY, version="v2")}, 2),
        ({"artifact_id": artifact_id_pb2.ArtifactID(artifact_key=KEY)}, 4),
        ({"artifact_id": artifact_id_pb2.ArtifactID(artifact_key=KEY, partitions=partitions)}, 3),
        ({"artifact_tag": tag}, 4),
        ({"uri": "flyte://av0.1/flytesnacks/development/model@v1"}, 1),
        ({"uri": "flyte://av0.1/flytesnacks/development/model:last"}, 4),
    ):
        request = artifacts_pb2.GetArtifactRequest(query=artifact_id_pb2.ArtifactQuery(**query))
        found = await registry("GetArtifact", request, artifacts_pb2.GetArtifactResponse)
        assert found.artifact.spec.value.scalar.primitive.integer == number
    request = artifacts_pb2.SearchArtifactsRequest(artifact_key=KEY, limit=2)
    versions: list[str] = []
    while True:
        page = await registry("SearchArtifacts", request, artifacts_pb2.SearchArtifactsResponse)
        versions += [one.artifact_id.version for one in page.artifacts]
        if not page.token:
            break
        request.token = page.token
    assert versions == ["v4", "v3", "v2", "v1", "v0"]
    latest = artifacts_pb2.SearchArtifactsRequest(
        artifact_key=artifact_id_pb2.ArtifactKey(project="flytesnacks"),
        options=artifacts_pb2.SearchOptions(latest_by_key=True),
    )
    page = await registry("SearchArtifacts", latest, artifacts_pb2.SearchArtifactsResponse)
    assert [one.artifact_id.version for one in page.artifacts] == ["v4"]
    strict = artifacts_pb2.SearchArtifactsRequest(
        artifact_key=KEY, options=artifacts_pb2.SearchOptions(strict_partitions=True)
    )
    page = await registry("SearchArtifacts", strict, artifacts_pb2.SearchArtifactsResponse)
    assert not page.artifacts


async def test_refusals(registry: Registry) -> None:
    """Bad requests get a sentence, and change nothing: an alias that cannot be leaves no artifact either."""
    await _create(registry, "v1")
    await _create(registry, "v2", tag="prod")
    again = artifacts_pb2.CreateArtifactRequest(artifact_key=KEY, version="v1", spec=_spec(9))
    assert (await _refused(registry, "CreateArtifact", again))[0] is grpc.StatusCode.ALREADY_EXISTS
    empty = artifacts_pb2.CreateArtifactRequest(artifact_key=KEY, version="v3")
    assert await _refused(registry, "CreateArtifact", empty) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "missing spec.value",
    )
    named = artifacts_pb2.CreateArtifactRequest(artifact_key=KEY, version="v3", spec=_spec(3), tag="t" * 1_001)
    assert await _refused(registry, "CreateArtifact", named) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "invalid value for tag",
    )
    assert await _versions(registry) == ["v2", "v1"]
    first = artifact_id_pb2.ArtifactID(artifact_key=KEY, version="v1")
    taken = artifacts_pb2.AddTagRequest(artifact_id=first, value="prod")
    code, text = await _refused(registry, "AddTag", taken)
    assert (code, "with overwrite the alias moves" in text) == (grpc.StatusCode.ALREADY_EXISTS, True)
    taken.overwrite = True
    await registry("AddTag", taken, artifacts_pb2.AddTagResponse)
    gone = artifacts_pb2.AddTagRequest(
        artifact_id=artifact_id_pb2.ArtifactID(artifact_key=KEY, version="v9"), value="x"
    )
    assert (await _refused(registry, "AddTag", gone))[0] is grpc.StatusCode.NOT_FOUND
    token = artifacts_pb2.SearchArtifactsRequest(artifact_key=KEY, token="x")
    assert (await _refused(registry, "SearchArtifacts", token))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await _refused(registry, "GetArtifact", artifacts_pb2.GetArtifactRequest()))[1].startswith("the query is")
    assert (await _refused(registry, "CreateTrigger", artifacts_pb2.CreateTriggerRequest()))[
        0
    ] is grpc.StatusCode.UNIMPLEMENTED


async def test_usage(registry: Registry, pool: asyncpg.Pool) -> None:
    """SetExecutionInputs is what ListUsage and FindByWorkflowExec tell; producers and consumers are kept."""
    made = await _create(registry, "v1")
    (execution,) = await insert_executions(pool, 1)
    name = await pool.fetchval("SELECT name FROM executions WHERE id = $1", execution)
    identifier = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name=name)
    used = artifacts_pb2.ExecutionInputsRequest(execution_id=identifier, inputs=[made.artifact_id])
    for _ in range(2):
        await registry("SetExecutionInputs", used, artifacts_pb2.ExecutionInputsResponse)
    asked = artifacts_pb2.ListUsageRequest(artifact_id=made.artifact_id)
    usage = await registry("ListUsage", asked, artifacts_pb2.ListUsageResponse)
    assert list(usage.executions) == [identifier]
    inputs = artifacts_pb2.FindByWorkflowExecRequest(exec_id=identifier)
    found = await registry("FindByWorkflowExec", inputs, artifacts_pb2.SearchArtifactsResponse)
    assert [one.artifact_id for one in found.artifacts] == [made.artifact_id]
    unknown = artifacts_pb2.ExecutionInputsRequest(execution_id=identifier, inputs=[made.artifact_id])
    unknown.execution_id.name = "nobody"
    assert (await _refused(registry, "SetExecutionInputs", unknown))[0] is grpc.StatusCode.NOT_FOUND
    task = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, project="p", domain="d", name="t", version="1")
    producer = artifacts_pb2.ArtifactProducer(entity_id=task)
    producer.outputs.variables["o0"].artifact_partial_id.artifact_key.name = "model"
    await registry(
        "RegisterProducer", artifacts_pb2.RegisterProducerRequest(producers=[producer]), artifacts_pb2.RegisterResponse
    )
    assert await pool.fetchval("SELECT artifact_name FROM artifact_entities WHERE NOT is_consumer") == "model"


async def _announce(pool: asyncpg.Pool, name: str, *, cache_status: int = 0, output: bytes | None = None) -> int:
    """A node that has succeeded with one output declared as the artifact `name`, as the journal leaves it."""
    (execution,) = await insert_executions(pool, 1)
    closure = task_pb2.TaskClosure()
    variable = closure.compiled_task.template.interface.outputs.variables["o0"]
    variable.type.simple = types_pb2.INTEGER
    variable.artifact_partial_id.artifact_key.name = name
    variable.artifact_tag.value.static_value = "newest"
    await pool.execute(
        "INSERT INTO tasks (project, domain, name, version, digest, type, closure)"
        " VALUES ('p', 'd', $1, '1', '', 't', $2) ON CONFLICT DO NOTHING",
        *(name.replace("\0", "?"), closure.SerializeToString()),
    )
    made = literals_pb2.LiteralMap(literals={"o0": _spec(7).value}).SerializeToString() if output is None else output
    await pool.execute(
        "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at, updated_at,"
        " outputs, cache_status) VALUES ($1, 'n0', 0, 'n0', 2, 3, now(), now(), $2, $3)",
        *(execution, made, cache_status),
    )
    await pool.execute(
        "INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name,"
        " task_version, task_type, name, phase, created_at, updated_at)"
        " VALUES ($1, 'n0', 0, 'p', 'd', $2, '1', 't', 'x', 3, now(), now())",
        *(execution, name.replace("\0", "?")),
    )
    await pool.execute("INSERT INTO artifact_outbox (execution_id, node_id, attempt) VALUES ($1, 'n0', 0)", execution)
    return execution


async def test_each_output_becomes_one_artifact(
    registrar: ArtifactRegistrar, store: ArtifactStore, pool: asyncpg.Pool
) -> None:
    """However many work off the outbox, each announced output becomes one artifact; a cached one none."""
    for _ in range(10):
        await _announce(pool, "model")
    await _announce(pool, "model", cache_status=2)
    await asyncio.gather(*(registrar.register() for _ in range(4)))
    while await registrar.register():
        pass
    assert await pool.fetchval("SELECT count(*) FROM artifacts") == 10
    assert await pool.fetchval("SELECT count(*) FROM artifact_outbox") == 0
    assert await pool.fetchval("SELECT count(*) FROM artifact_tags") == 1


async def test_a_poor_output_stops_nobody(registrar: ArtifactRegistrar, pool: asyncpg.Pool) -> None:
    """Outputs that cannot be stored or read are noted with the reason, and those behind them become artifacts."""
    refused = await _announce(pool, "with\0nul")
    malformed = await _announce(pool, "malformed", output=b"\xff")
    await _announce(pool, "model")
    while await registrar.register():
        pass
    assert await pool.fetchval("SELECT array_agg(name) FROM artifacts") == ["model"]
    reasons = dict(await pool.fetch("SELECT execution_id, reason FROM artifact_failures"))
    assert set(reasons) == {refused, malformed}
    assert "cannot be read" in reasons[malformed]
    assert await pool.fetchval("SELECT count(*) FROM artifact_outbox") == 0


async def test_elements_of_a_map_page_by_page(
    registrar: ArtifactRegistrar, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a map is, a transaction takes a page of its elements; those that the cache had, that were taken over
    or that failed make no artifact; partitions come from what the element was given."""
    monkeypatch.setattr(elements, "PAGE", 2)
    closure = compiled("mapping")
    template = next(task.template for task in closure.tasks if task.template.id.name.endswith("-arraynode"))
    workflow = await insert_workflow(pool, closure.SerializeToString())
    (execution,) = await insert_executions(pool, 1)
    await pool.execute("UPDATE executions SET workflow_id = $2 WHERE id = $1", execution, workflow)
    mapped = task_pb2.TaskClosure()
    variable = mapped.compiled_task.template.interface.outputs.variables["o0"]
    variable.artifact_partial_id.artifact_key.name = "scaled"
    for key in ("a", "factor"):
        variable.artifact_partial_id.partitions.value[key].input_binding.var = key
    own = task_pb2.TaskClosure()
    own.compiled_task.template.CopyFrom(template)
    for name, task in ((template.id.name, own), (mapped_task(template), mapped)):
        await pool.execute(
            "INSERT INTO tasks (project, domain, name, version, digest, type, closure)"
            " VALUES ('p', 'd', $1, 'v', '', 't', $2)",
            *(name, task.SerializeToString()),
        )
    inputs = literals_pb2.LiteralMap(literals={"factor": _spec(3).value})
    inputs.literals["a"].collection.literals.extend(_spec(number).value for number in range(8))
    await pool.execute(
        "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at, updated_at,"
        " inputs) VALUES ($1, 'n0', 0, 'n0', $2, 3, now(), now(), $3)",
        *(execution, NodeKind.ARRAY, inputs.SerializeToString()),
    )
    await pool.execute(
        "INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name,"
        " task_version, task_type, name, phase, created_at, updated_at)"
        " VALUES ($1, 'n0', 0, 'p', 'd', $2, 'v', 't', 'x', 3, now(), now())",
        *(execution, template.id.name),
    )
    await pool.executemany(
        "INSERT INTO array_elements (execution_id, node_id, element, attempt, phase, system_failures, queued_at,"
        " ended_at, outputs) VALUES ($1, 'n0', $2, $3, $4, 0, now(), now() + make_interval(secs => $5), $6)",
        [
            (
                execution,
                element,
                attempt,
                phase,
                seconds,
                literals_pb2.LiteralMap(literals={"o0": _spec(7).value}).SerializeToString(),
            )
            for element, attempt, phase, seconds in (
                *((0, 0, 3, 1.0), (1, 0, 6, 1.0), (1, 1, 3, 1.0), (2, 0, 3, 0.0), (3, 0, 3, 1.0)),
                *((4, 0, 6, 1.0), (5, 0, 3, 1.0), (6, 0, 3, 1.0)),
            )
        ],
    )
    await pool.execute("INSERT INTO artifact_outbox (execution_id, node_id, attempt) VALUES ($1, 'n0', 0)", execution)
    assert await registrar.register(waits=True) == BATCH_MAX
    assert await pool.fetchval("SELECT count(*) FROM artifacts") == 2
    while await registrar.register():
        pass
    name = await pool.fetchval("SELECT name FROM executions WHERE id = $1", execution)
    rows = await pool.fetch("SELECT version, partitions, attempt FROM artifacts ORDER BY id")
    assert [(row["version"].removeprefix(f"{name}/n0/"), json.loads(row["partitions"])) for row in rows] == [
        (f"{element}/{attempt}/o0", {"a": str(element), "factor": "3"})
        for element, attempt in ((0, 0), (1, 1), (3, 0), (5, 0), (6, 0))
    ]
    assert await pool.fetchval("SELECT count(*) FROM artifact_outbox") == 0
