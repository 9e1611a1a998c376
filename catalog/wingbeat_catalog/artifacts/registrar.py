"""From outputs that the journal has announced to artifacts.

The commit that records a success writes a row to `artifact_outbox`; whoever takes it up writes the artifacts and
deletes it in one transaction, so each output becomes one artifact whoever is killed. Of a map a transaction takes a
page of elements, and the row says where the next one goes on. Versions follow from the output
(`execution/node/attempt/var`, of an element `execution/node/element/attempt/var`). An output that cannot become an
artifact, say because the task left a partition without a value, is noted in `artifact_failures` with the reason and in
the log; the execution has succeeded all the same. A store or database that is away is waited for.
"""

import asyncio
from collections.abc import Set
from dataclasses import dataclass

import asyncpg
import structlog
from flyteidl.core import artifact_id_pb2, catalog_pb2, identifier_pb2, interface_pb2
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts.elements import ElementPage, UndeclaredError, check_undeclared, mapped, read_page
from wingbeat_catalog.artifacts.outputs import Outputs, Targets, declared_in, entity_of, read_values, template_of
from wingbeat_catalog.artifacts.partitions import PartitionError, asked_text, made_partitions
from wingbeat_catalog.artifacts.store import SQL, ArtifactKey, ArtifactStore, Made, NewArtifact, Row, Transaction
from wingbeat_propeller.core.plan import ArraySpec, NodeKind, TaskSpec
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.outages import is_refusal, outages_as_oserror

_log = structlog.get_logger(__name__)
_REGISTERED = Counter("wingbeat_artifacts_registered", "Outputs that became artifacts")
_FAILED = Counter("wingbeat_artifacts_failed", "Outputs that were to become artifacts and could not")

BATCH_MAX = 100
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
                targets = Targets(connection, self._blobs)
                done = [await self._register_alone(connection, targets, row) for row in announced]
        return len(done) if all(done) else BATCH_MAX

    async def _register_alone(self, connection: Transaction, targets: Targets, announced: Row) -> bool:
        """Values that the database refuses fail one output, not those after it. Returns False when there is more of
        this one."""
        try:
            async with connection.transaction():
                return await self._register(connection, targets, announced)
        except (asyncpg.PostgresError, ValueError, DecodeError) as error:
            if isinstance(error, asyncpg.PostgresError) and not is_refusal(error):
                raise
            await self._fail(connection, announced["execution_id"], announced["node_id"], "", f"it is refused: {error}")
            await connection.execute(SQL["done"], announced["id"])
            return True

    async def _register(self, connection: Transaction, targets: Targets, announced: Row) -> bool:
        key, execution, node_id = announced["id"], announced["execution_id"], announced["node_id"]
        if node_id:
            output = await connection.fetchrow(SQL["output_of_node"], execution, node_id)
        else:
            output = await connection.fetchrow(SQL["output_of_execution"], execution)
        if output is not None and not output["is_task"] and output["cache_status"] != catalog_pb2.CACHE_HIT:
            try:
                rest = await self._make(connection, targets, announced, output)
            except OSError as error:
                if announced["tries"] < TRIES_MAX:
                    await connection.execute(SQL["later"], key, _RETRY_S)
                    return True
                rest = None
                await self._fail(connection, execution, node_id, "", f"its values cannot be read: {error}")
            if rest is not None:
                await connection.execute(SQL["next_page"], key, rest)
                return False
        await connection.execute(SQL["done"], key)
        return True

    async def _make(self, connection: Transaction, targets: Targets, announced: Row, output: Row) -> int | None:
        """Returns the element of a map to go on with another time; None: that was all."""
        execution, node_id = announced["execution_id"], announced["node_id"]
        try:
            if output["kind"] == NodeKind.ARRAY:
                page = await self._elements(connection, targets, announced, output)
            else:
                page = ElementPage([await self._outputs(targets, announced, output)], None)
        except (BlobNotFoundError, BlobTooLargeError, DecodeError) as error:
            await self._fail(connection, execution, node_id, "", f"its values cannot be read: {error}")
            return None
        except UndeclaredError as error:
            await self._fail(connection, execution, node_id, "", str(error))
            return None
        failures: dict[str, str] = {}
        for outputs in page.outputs:
            for var, variable in outputs.declared.items():
                try:
                    await self._insert(connection, announced, output, outputs, var, variable)
                    _REGISTERED.inc()
                except PartitionError as error:
                    failures[var] = str(error)
        for var, reason in failures.items():
            await self._fail(connection, execution, node_id, var, reason)
        return page.next_element

    async def _outputs(self, targets: Targets, announced: Row, output: Row) -> Outputs:
        """Of a node or an execution."""
        node_id = announced["node_id"]
        if output["interface"] is not None:
            interface = interface_pb2.TypedInterface.FromString(output["interface"])
        elif output["closure"] is not None:
            interface = template_of(output["closure"]).interface
        else:  # a dynamic task has brought the task along
            target = await targets.find(announced["execution_id"], node_id)
            if not isinstance(target, TaskSpec):
                raise UndeclaredError(
                    f"the task {output['task_name']} is not registered, and the workflow that it was part of cannot be"
                    " read, so its outputs are not known to be artifacts"
                )
            interface = target.template.interface
        is_stored = output["outputs"] is None and output["output_uri"] is not None
        return Outputs(
            declared=declared_in(interface),
            values=await read_values(self._blobs, output["outputs"], output["output_uri"]),
            inputs=await read_values(self._blobs, output["inputs"], output["input_uri"]),
            place=(output["name"], node_id, str(announced["attempt"])) if node_id else (output["name"],),
            attempt=announced["attempt"],
            entity=entity_of(output, identifier_pb2.TASK if node_id else identifier_pb2.WORKFLOW),
            value_uri=output["output_uri"] if is_stored else None,
        )

    async def _elements(self, connection: Transaction, targets: Targets, announced: Row, output: Row) -> ElementPage:
        execution, node_id = announced["execution_id"], announced["node_id"]
        if output["closure"] is not None:
            template = template_of(output["closure"])
        else:
            template = _array(await targets.find(execution, node_id))[0].template
        known = await mapped(connection, output, template)
        if not known.declared:
            await check_undeclared(connection, self._blobs, announced, known.entity)
            return ElementPage([], None)
        _, bound_inputs = _array(await targets.find(execution, node_id))
        return await read_page(connection, self._blobs, announced, output, known, bound_inputs)

    async def _insert(
        self,
        connection: Transaction,
        announced: Row,
        output: Row,
        outputs: Outputs,
        var: str,
        variable: interface_pb2.Variable,
    ) -> None:
        if var not in outputs.values:
            raise PartitionError("the output has no value")
        literal = outputs.values[var]
        declared = variable.artifact_partial_id
        key = _key(declared.artifact_key, output)
        partitions = made_partitions(declared, literal, outputs.inputs)
        spec = artifacts_pb2.ArtifactSpec(type=variable.type, short_description=variable.description)
        if outputs.value_uri is None:
            spec.value.CopyFrom(literal)
        artifact = NewArtifact(
            key=key,
            version=declared.version or "/".join((*outputs.place, var)),
            partitions=partitions,
            spec=spec,
            made=Made(
                execution=identifier_pb2.WorkflowExecutionIdentifier(
                    project=output["project"], domain=output["domain"], name=output["name"]
                ),
                node_id=announced["node_id"],
                attempt=outputs.attempt,
                var=var,
                entity=outputs.entity,
                principal=output["principal"],
            ),
            value_uri=outputs.value_uri,
        )
        made = await self._store.insert(artifact, connection)
        if made is None:
            _log.info("the version of an artifact exists", artifact=str(key), version=artifact.version)
        elif variable.HasField("artifact_tag"):
            alias = asked_text("the tag", variable.artifact_tag.value, outputs.inputs)
            if alias:
                await self._store.tag(made, alias, move=True, connection=connection)

    async def _fail(self, connection: Transaction, execution: int, node_id: str, var: str, reason: str) -> None:
        _FAILED.inc()
        _log.warning("an output did not become an artifact", execution=execution, node=node_id, var=var, reason=reason)
        text = reason.replace("\0", "")[:10_000]
        await connection.execute(SQL["failed"], execution, node_id, var, text)


def _key(declared: artifact_id_pb2.ArtifactKey, output: Row) -> ArtifactKey:
    """Where an artifact belongs: to the project and domain of its execution, unless it says otherwise."""
    if not declared.name:
        raise PartitionError("the artifact has no name")
    return ArtifactKey(declared.project or output["project"], declared.domain or output["domain"], declared.name)


def _array(target: object) -> tuple[TaskSpec, Set[str]]:
    """The task of an array's elements, and inputs that each of them gets whole."""
    if not isinstance(target, ArraySpec) or not isinstance(target.element, TaskSpec):
        raise UndeclaredError("the workflow of the map cannot be read, so its outputs are not known to be artifacts")
    return target.element, target.bound_inputs
