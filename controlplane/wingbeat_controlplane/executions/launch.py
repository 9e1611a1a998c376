"""CreateExecution: from a request to a row that an engine takes up.

The order of failure is that of Flyte v1: form of the request, project, launch plan, inputs, cluster pool, concurrency,
name. Every way to launch ends here, so what launch plans say about overlap and deadlines holds for all of them. The
row and its tags are one statement, and the engines are told after its commit; a launch is two round trips once its
launch plan is known, and looks up nothing that cannot change. Calls at the same time share both: what they look up
(shared_reads.py) and the statement (insertion_line.py). Inputs too large for a row go to the blob store after the
row is inserted and before it is committed: a name that is taken never touches the blobs of the execution that has it,
and no engine sees a row whose inputs are missing.
"""

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass

import asyncpg
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_catalog.lineage.store import record_inputs
from wingbeat_controlplane.errors import already_exists, invalid_argument, not_found
from wingbeat_controlplane.executions.announcing import Announcer
from wingbeat_controlplane.executions.artifact_inputs import ArtifactInputs, with_artifacts
from wingbeat_controlplane.executions.decision import Parent, Surroundings, decide
from wingbeat_controlplane.executions.decisions import Decisions
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.identifiers import check_execution_id, check_node_id
from wingbeat_controlplane.executions.insertion import insert_executions
from wingbeat_controlplane.executions.insertion_line import InsertionLine
from wingbeat_controlplane.executions.launch_attributes import RESOURCE_TYPES
from wingbeat_controlplane.executions.launch_targets import LaunchTarget, LaunchTargets
from wingbeat_controlplane.executions.names import ExecutionName, generated_name
from wingbeat_controlplane.executions.new_execution import NewExecution
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.places import Connection as InTransaction
from wingbeat_controlplane.executions.places import must_wait, replace_oldest
from wingbeat_controlplane.executions.repeats import Repeats
from wingbeat_controlplane.executions.request_checks import check_create, given_inputs
from wingbeat_controlplane.executions.shared_reads import SharedReads
from wingbeat_controlplane.registry.attributes import AttributeStore, Level
from wingbeat_controlplane.registry.overlap import Overlap
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_propeller.compiler.inputs import InvalidInputError
from wingbeat_propeller.core.references import message_tokens
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.recovery.v1 import recovery_pb2

_SQL = load_queries("wingbeat_controlplane.executions", "launch.sql")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the authenticated subject (empty without authentication) and the connection the call came over."""

    principal: str
    peer: str


class Launcher:
    """Creates executions."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        blobs: Blobs,
        projects: ProjectStore,
        attributes: AttributeStore,
        targets: LaunchTargets,
        options: ExecutionOptions,
    ) -> None:
        self._pool = pool
        self._blobs = blobs
        self._projects = projects
        self._attributes = attributes
        self._targets = targets
        self.options = options
        self.announcer = Announcer(pool)
        self._decisions = Decisions(options)
        self.artifact_inputs = ArtifactInputs(pool, blobs)
        self._keys = ExecutionKeys(pool)
        self._repeats: Repeats[identifier_pb2.WorkflowExecutionIdentifier] = Repeats(options.dedupe_window_s)
        self._reads: SharedReads[tuple[object, ...], Surroundings] = SharedReads()
        self._line = InsertionLine(pool, blobs.base)

    async def create(
        self,
        request: execution_pb2.ExecutionCreateRequest,
        caller: Caller,
        *,
        source_execution_id: int | None = None,
        recovery: recovery_pb2.Recovery | None = None,
    ) -> identifier_pb2.WorkflowExecutionIdentifier:
        """Insert an execution and wake its engine; returns its id.

        Identical unnamed requests of one connection within the options' window are one, unless what they would run with
        has changed meanwhile. `source_execution_id` is the row of the execution that is launched again; else a request
        that refers to one, as clients do who relaunch with other inputs, tells it. `recovery` is set when the new one
        takes over what that one did. Raises ApiError INVALID_ARGUMENT, NOT_FOUND (launch plan, task, parent or
        reference), ALREADY_EXISTS (name, or the launch plan's limit), RESOURCE_EXHAUSTED (the launch plan's line).
        """
        new = await self.resolve(request, caller, source_execution_id=source_execution_id, recovery=recovery)
        if request.name:
            return await self._insert(new)
        return await self._repeats.once(_key(request, caller, new), lambda: self._insert(new))

    async def drained(self) -> None:
        """Wait for creations whose callers are gone."""
        await self._repeats.drained()
        await self._line.drained()
        await self.announcer.drained()

    async def resolve(
        self,
        request: execution_pb2.ExecutionCreateRequest,
        caller: Caller,
        *,
        source_execution_id: int | None = None,
        recovery: recovery_pb2.Recovery | None = None,
    ) -> NewExecution:
        """Everything that is decided before anything is written; nothing is. Parameters and errors as for `create`."""
        check_create(request)
        surroundings = await self.look_up(request)
        given = given_inputs(request)
        target = surroundings.target
        artifacts = await self.artifact_inputs.find(request.project, request.domain, target, given)
        given = with_artifacts(given, artifacts)
        completion = completed(target, given)
        parent = await self._find_parent(request.spec.metadata)
        is_repeat = source_execution_id is not None
        if source_execution_id is None:
            source_execution_id = await self._find_reference(request.spec.metadata)
        user_inputs = given.SerializeToString()
        principal = caller.principal
        return NewExecution(
            id=ExecutionName(request.project, request.domain, request.name or generated_name()),
            decision=self._decisions.of(request, surroundings, principal=principal)
            if parent is None
            else decide(request, surroundings, self.options, principal=principal, parent=parent),
            inputs=user_inputs + completion,  # one map after the other is the union of both
            user_inputs=user_inputs,
            is_named=bool(request.name),
            source_execution_id=source_execution_id,
            recovery=recovery,
            # What a node gives its child, the plan of the parent tells.
            known_inputs=() if parent is not None else known_inputs(target, given, artifacts),
            used_artifacts=[(found.id, name) for name, found in artifacts.items()],
            inherits_artifacts=is_repeat,
        )

    async def look_up(self, request: execution_pb2.ExecutionCreateRequest) -> Surroundings:
        """What the decision about `request`, whose form has been checked, rests on. Raises ApiError INVALID_ARGUMENT
        (project), NOT_FOUND (target)."""
        target = self._targets.known(request.spec)
        if target is None:
            await self._projects.require_active(request.project, request.domain)  # fails before the target does
            target = await self._targets.find(request.spec)
        project, domain = request.project, request.domain
        key = (project, domain, target.launch_plan_id, target.task_id)
        return await self._reads.get(key, lambda: self._read_surroundings(project, domain, target))

    async def insert(self, connection: InTransaction, new: NewExecution) -> int | None:
        """Insert one execution with its blobs, in its place among those of its launch plan; its row id, None when the
        name is taken. The last step of a transaction, after whose commit it is to be announced. Raises ApiError as
        `must_wait`."""
        base = self._blobs.base
        overlap = new.decision.target.overlap
        plan = new.decision.target.identifier
        waits = False
        if overlap is not None:
            waits = await must_wait(connection, plan, overlap, queue_max=self.options.queue_max)
        created = await insert_executions(connection, [new], base, waits=waits)
        if not created:
            return None
        [key] = created.values()
        source = new.source_execution_id if new.inherits_artifacts else None
        await record_inputs(connection, key, new.known_inputs, new.used_artifacts, source)
        for uri, data in new.blobs(base).items():
            await self._blobs.put(uri, data)
        if waits:
            await connection.execute("NOTIFY wingbeat_queue")
        if waits and overlap is not None and overlap.behavior is Overlap.REPLACE:
            await replace_oldest(
                connection, plan, overlap, new.id, key=key, principal=new.decision.spec.metadata.principal
            )
        return key

    async def _insert(self, new: NewExecution) -> identifier_pb2.WorkflowExecutionIdentifier:
        if not new.needs_transaction:
            key = await self._line.insert(new)
        else:
            async with self._pool.acquire() as connection, connection.transaction():
                key = await self.insert(connection, new)
        if key is None:
            raise already_exists(f"execution [{new.id}] already exists")
        self.announcer.announce([(new.shard, key)])
        project, domain, name = new.id
        return identifier_pb2.WorkflowExecutionIdentifier(project=project, domain=domain, name=name)

    async def _read_surroundings(self, project: str, domain: str, target: LaunchTarget) -> Surroundings:
        workflow = target.spec.workflow_id
        here = Level(project, domain, workflow.name)
        there = Level(workflow.project, workflow.domain, workflow.name)
        found, (matches, workflow_matches) = await self._attributes.match_active((here, there), RESOURCE_TYPES)
        return Surroundings(found, target, matches, workflow_matches)

    async def _find_reference(self, metadata: execution_pb2.ExecutionMetadata) -> int | None:
        if not metadata.reference_execution.ByteSize():
            return None
        check_execution_id(metadata.reference_execution, present=True)
        key = await self._keys.find(metadata.reference_execution)
        if key is None:
            raise not_found("execution", metadata.reference_execution)
        return key

    async def _find_parent(self, metadata: execution_pb2.ExecutionMetadata) -> Parent | None:
        if not metadata.HasField("parent_node_execution"):
            return None
        node = metadata.parent_node_execution
        check_node_id(node)
        execution = node.execution_id
        row = await self._pool.fetchrow(
            _SQL["find_parent"], execution.project, execution.domain, execution.name, node.node_id
        )
        if row is None:
            raise not_found("node execution", node)
        return Parent(row["id"], node.node_id, row["principal"], execution_pb2.ExecutionSpec.FromString(row["spec"]))


def completed(target: LaunchTarget, given: literals_pb2.LiteralMap) -> bytes:
    """Check what the caller gave; the serialized defaults and fixed inputs that belong to it. Raises ApiError
    INVALID_ARGUMENT."""
    try:
        return target.inputs.complete(given)
    except InvalidInputError as error:
        raise invalid_argument(str(error)) from error


def known_inputs(
    target: LaunchTarget, given: literals_pb2.LiteralMap, artifacts: Container[str] = ()
) -> Sequence[tuple[str, str]]:
    """What values the caller gave are known by elsewhere, as (variable, token); values that refer to nothing are not
    looked into, and `artifacts` are known as such."""
    return [
        (name, token)
        for name, literal in given.literals.items()
        if name not in artifacts and (literal.hash or name in target.referring)
        for token in message_tokens(literal)
    ]


def _key(request: execution_pb2.ExecutionCreateRequest, caller: Caller, new: NewExecution) -> bytes:
    """Equal for calls that mean the same and would run the same: who, over which connection, the request, and what was
    resolved for it, so that whoever changes an attribute and launches again is not taken for a repetition."""
    digest = hashlib.sha256(f"{caller.peer}\n{caller.principal}\n{new.source_execution_id}\n".encode())
    digest.update(f"{new.used_artifacts}\n".encode() + new.decision.digest)
    data = request.SerializeToString(deterministic=True)
    digest.update(len(data).to_bytes(8) + data)
    if new.recovery is not None:
        digest.update(new.recovery.SerializeToString(deterministic=True))
    return digest.digest()
