"""From outputs that the journal has announced to artifacts.

The commit that records a success writes a row to `artifact_outbox`; whoever takes it up writes the artifacts and
deletes it in one transaction, so each output becomes one artifact whoever is killed. Versions follow from the output
(`execution/node/attempt/variable`). An output that cannot become an artifact, say because the task left a partition
without a value, is noted in `artifact_failures` with the reason and in the log; the execution has succeeded all the
same. A store or database that is away is waited for.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
import structlog
from flyteidl.admin import task_pb2
from flyteidl.core import artifact_id_pb2, catalog_pb2, identifier_pb2, interface_pb2, literals_pb2
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts.partitions import PartitionError, asked_text, made_partitions
from wingbeat_catalog.artifacts.store import SQL, ArtifactKey, ArtifactStore, Made, NewArtifact, Row, Transaction
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.outages import is_refusal, outages_as_oserror

_log = structlog.get_logger(__name__)
_REGISTERED = Counter("wingbeat_artifacts_registered", "Outputs that became artifacts")
_FAILED = Counter("wingbeat_artifacts_failed", "Outputs that were to become artifacts and could not")

BATCH_MAX = 100
VALUES_BYTES_MAX = 64 << 20
"""Largest inputs and outputs that are read for partitions."""
TRIES_MAX = 30
_RETRY_S = 2.0
_OUTAGE_S = 1.0


@dataclass(frozen=True, slots=True)
class RegistrarOptions:
    """`poll_s`: how often to look for announcements whose notification was lost."""

    poll_s: float = 2.0


class ArtifactRegistrar:
    """Works off the outbox; any number of processes may."""

    def __init__(
        self, pool: asyncpg.Pool, blobs: Blobs, store: ArtifactStore, options: RegistrarOptions | None = None
    ) -> None:
        self._pool = pool
        self._blobs = blobs
        self._store = store
        self._options = options or RegistrarOptions()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            try:
                while await self.register():
                    pass
            except OSError as error:
                _log.warning("outputs wait to become artifacts", error=str(error))
                await asyncio.sleep(_OUTAGE_S)
            try:
                await asyncio.wait_for(self._wake.wait(), self._options.poll_s)
            except TimeoutError:
                continue

    async def register(self, *, waits: bool = False) -> int:
        """Work off some of the outbox; returns how much. `waits` for what others are at work on, so that what was
        announced before is there afterwards. Raises OSError."""
        with outages_as_oserror():
            async with self._pool.acquire() as connection, connection.transaction():
                announced = await connection.fetch(SQL["announced_wait" if waits else "announced"], BATCH_MAX)
                for row in announced:
                    await self._register_alone(connection, row)
        return len(announced)

    async def _register_alone(self, connection: Transaction, announced: Row) -> None:
        """Values that the database refuses fail one output, not those after it."""
        try:
            async with connection.transaction():
                await self._register(connection, announced)
        except (asyncpg.PostgresError, ValueError, DecodeError) as error:
            if isinstance(error, asyncpg.PostgresError) and not is_refusal(error):
                raise
            await self._fail(connection, announced["execution_id"], announced["node_id"], "", f"it is refused: {error}")
            await connection.execute(SQL["done"], announced["id"])

    async def _register(self, connection: Transaction, announced: Row) -> None:
        key, execution, node_id = announced["id"], announced["execution_id"], announced["node_id"]
        if node_id:
            output = await connection.fetchrow(SQL["output_of_node"], execution, node_id)
        else:
            output = await connection.fetchrow(SQL["output_of_execution"], execution)
        if output is not None and not output["is_task"] and output["cache_status"] != catalog_pb2.CACHE_HIT:
            try:
                await self._make(connection, announced, output)
            except OSError as error:
                if announced["tries"] < TRIES_MAX:
                    await connection.execute(SQL["later"], key, _RETRY_S)
                    return
                await self._fail(connection, execution, node_id, "", f"its values cannot be read: {error}")
        await connection.execute(SQL["done"], key)

    async def _make(self, connection: Transaction, announced: Row, output: Row) -> None:
        execution, node_id = announced["execution_id"], announced["node_id"]
        interface = _interface(output)
        if interface is None:
            reason = f"the task {output['task_name']} is not registered, so its outputs are not known to be artifacts"
            await self._fail(connection, execution, node_id, "", reason)
            return
        try:
            outputs = await self._values(output["outputs"], output["output_uri"])
            inputs = await self._values(output["inputs"], output["input_uri"])
        except (BlobNotFoundError, BlobTooLargeError, DecodeError) as error:
            await self._fail(connection, execution, node_id, "", f"its values cannot be read: {error}")
            return
        for var in sorted(interface.outputs.variables):
            variable = interface.outputs.variables[var]
            if not variable.HasField("artifact_partial_id"):
                continue
            if var not in outputs:
                await self._fail(connection, execution, node_id, var, "the output has no value")
                continue
            try:
                await self._insert(connection, announced, output, var, variable, outputs[var], inputs)
                _REGISTERED.inc()
            except PartitionError as error:
                await self._fail(connection, execution, node_id, var, str(error))

    async def _insert(
        self,
        connection: Transaction,
        announced: Row,
        output: Row,
        var: str,
        variable: interface_pb2.Variable,
        literal: literals_pb2.Literal,
        inputs: Mapping[str, literals_pb2.Literal],
    ) -> None:
        declared = variable.artifact_partial_id
        key = _key(declared.artifact_key, output)
        partitions = made_partitions(declared, literal, inputs)
        parts = (output["name"], announced["node_id"], str(announced["attempt"]) if announced["node_id"] else "", var)
        is_stored = output["outputs"] is None and output["output_uri"] is not None
        spec = artifacts_pb2.ArtifactSpec(type=variable.type, short_description=variable.description)
        if not is_stored:
            spec.value.CopyFrom(literal)
        artifact = NewArtifact(
            key=key,
            version=declared.version or "/".join(part for part in parts if part),
            partitions=partitions,
            spec=spec,
            made=Made(
                execution=identifier_pb2.WorkflowExecutionIdentifier(
                    project=output["project"], domain=output["domain"], name=output["name"]
                ),
                node_id=announced["node_id"],
                attempt=announced["attempt"],
                var=var,
                entity=_entity(announced, output),
                principal=output["principal"],
            ),
            value_uri=output["output_uri"] if is_stored else None,
        )
        made = await self._store.insert(artifact, connection)
        if made is None:
            _log.info("the version of an artifact exists", artifact=str(key), version=artifact.version)
        elif variable.HasField("artifact_tag"):
            alias = asked_text("the tag", variable.artifact_tag.value, inputs)
            if alias:
                await self._store.tag(made, alias, move=True, connection=connection)

    async def _fail(self, connection: Transaction, execution: int, node_id: str, var: str, reason: str) -> None:
        _FAILED.inc()
        _log.warning("an output did not become an artifact", execution=execution, node=node_id, var=var, reason=reason)
        text = reason.replace("\0", "")[:10_000]
        await connection.execute(SQL["failed"], execution, node_id, var, text)

    async def _values(self, data: bytes | None, uri: str | None) -> Mapping[str, literals_pb2.Literal]:
        if data is None and uri is not None:
            data = await self._blobs.get(uri, VALUES_BYTES_MAX)
        return literals_pb2.LiteralMap.FromString(data or b"").literals


def _interface(output: Row) -> interface_pb2.TypedInterface | None:
    if output["interface"] is not None:
        return interface_pb2.TypedInterface.FromString(output["interface"])
    if output["closure"] is None:
        return None
    return task_pb2.TaskClosure.FromString(output["closure"]).compiled_task.template.interface


def _key(declared: artifact_id_pb2.ArtifactKey, output: Row) -> ArtifactKey:
    """Where an artifact belongs: to the project and domain of its execution, unless it says otherwise."""
    if not declared.name:
        raise PartitionError("the artifact has no name")
    return ArtifactKey(declared.project or output["project"], declared.domain or output["domain"], declared.name)


def _entity(announced: Row, output: Row) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.TASK if announced["node_id"] else identifier_pb2.WORKFLOW,
        project=output["task_project"],
        domain=output["task_domain"],
        name=output["task_name"],
        version=output["task_version"],
    )
