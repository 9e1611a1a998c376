"""CreateExecution: from a request to a row that an engine takes up.

The order of failure is that of Flyte v1: form of the request, project, launch plan, inputs, cluster pool, concurrency,
name. Every way to launch ends here, so what launch plans say about overlap and deadlines holds for all of them. The
row, its tags and the notification of the engine are one statement; a launch is three round trips once its launch plan
is known. Inputs too large for a row go to the blob store after the row is inserted and before it is committed: a name
that is taken never touches the blobs of the execution that has it, and no engine sees a row whose inputs are missing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from flyteidl.admin import execution_pb2, matchable_resource_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_catalog.lineage.store import record_inputs
from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument, not_found
from wingbeat_controlplane.executions.effective_settings import resolve_notifications, resolve_settings
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.identifiers import check_execution_id, check_node_id, execution_label
from wingbeat_controlplane.executions.launch_attributes import RESOURCE_TYPES, matching_configs, resolve_attributes
from wingbeat_controlplane.executions.launch_targets import LaunchTarget, LaunchTargets
from wingbeat_controlplane.executions.names import generated_name
from wingbeat_controlplane.executions.new_execution import NewExecution, Parent
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.places import must_wait, replace_oldest
from wingbeat_controlplane.executions.repeats import Repeats
from wingbeat_controlplane.executions.request_checks import check_create, given_inputs
from wingbeat_controlplane.executions.shown_spec import shown_spec
from wingbeat_controlplane.registry.attributes import AttributeStore, Level, Match
from wingbeat_controlplane.registry.deadlines import Deadlines, stated_deadlines
from wingbeat_controlplane.registry.overlap import Overlap
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_propeller.compiler.inputs import InvalidInputError, missing_inputs
from wingbeat_propeller.core.references import may_refer, message_tokens
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
        self._options = options
        self._keys = ExecutionKeys(pool)
        self._repeats: Repeats[identifier_pb2.WorkflowExecutionIdentifier] = Repeats(options.dedupe_window_s)

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
        project = await self._projects.require_active(request.project, request.domain)
        target = await self._targets.find(request.spec)
        given = given_inputs(request)
        completion = _completion(target, given)
        parent = await self._find_parent(request.spec.metadata)
        parent_spec = None if parent is None else parent.spec
        matches, workflow_matches = await self._match(request, target)
        if source_execution_id is None:
            source_execution_id = await self._find_reference(request.spec.metadata)
        attributes = matching_configs(matches)
        config = resolve_settings(
            request.spec,
            target.settings,
            attributes,
            self._options.defaults,
            project_labels=project.labels.values,
            caller=caller.principal,
        )
        user_inputs = given.SerializeToString()
        return NewExecution(
            identifier=identifier_pb2.WorkflowExecutionIdentifier(
                project=request.project, domain=request.domain, name=request.name or generated_name()
            ),
            target=target,
            spec=shown_spec(
                request,
                config,
                principal=caller.principal if parent is None else parent.principal,
                parent=parent_spec,
            ),
            config=config,
            attributes=resolve_attributes(
                request,
                target.settings,
                parent_spec,
                matches=matches,
                workflow_matches=workflow_matches,
                platform_resources=self._options.task_resources,
            ),
            notifications=resolve_notifications(request.spec, target.spec),
            inputs=user_inputs + completion,  # one map after the other is the union of both
            user_inputs=user_inputs,
            source_execution_id=source_execution_id,
            recovery=recovery,
            parent=parent,
            deadlines=_deadlines(request.spec, target, (*attributes, self._options.defaults)),
            # What a node gives its child, the plan of the parent tells.
            known_inputs=() if parent is not None else _known_inputs(target, given),
        )

    async def _insert(self, new: NewExecution) -> identifier_pb2.WorkflowExecutionIdentifier:
        blobs = new.blobs(self._blobs.base)
        plan = new.target.identifier
        overlap = new.target.overlap
        if not blobs and overlap is None and not new.known_inputs:
            if await self._pool.fetchrow(_SQL["insert_execution"], *new.row(self._blobs.base, waits=False)) is None:
                raise _taken(new.identifier)
            return new.identifier
        async with self._pool.acquire() as connection, connection.transaction():
            waits = False
            if overlap is not None:
                waits = await must_wait(connection, plan, overlap, queue_max=self._options.queue_max)
            row = new.row(self._blobs.base, waits=waits)
            created = await connection.fetchrow(_SQL["insert_execution"], *row)
            if created is None:
                raise _taken(new.identifier)
            await record_inputs(connection, created["id"], new.known_inputs, ())
            for uri, data in blobs.items():
                await self._blobs.put(uri, data)
            if waits and overlap is not None and overlap.behavior is Overlap.REPLACE:
                await replace_oldest(
                    connection,
                    plan,
                    overlap,
                    new.identifier,
                    key=created["id"],
                    principal=new.spec.metadata.principal,
                )
        return new.identifier

    async def _find_reference(self, metadata: execution_pb2.ExecutionMetadata) -> int | None:
        if not metadata.reference_execution.ByteSize():
            return None
        check_execution_id(metadata.reference_execution, present=True)
        key = await self._keys.find(metadata.reference_execution)
        if key is None:
            raise not_found("execution", metadata.reference_execution)
        return key

    async def _match(
        self, request: execution_pb2.ExecutionCreateRequest, target: LaunchTarget
    ) -> tuple[Sequence[Match], Sequence[Match]]:
        """Attributes for the workflow where the execution runs, and where the workflow is registered."""
        workflow = target.spec.workflow_id
        here = Level(request.project, request.domain, workflow.name)
        there = Level(workflow.project, workflow.domain, workflow.name)
        matches = await self._attributes.match(here, RESOURCE_TYPES)
        return matches, matches if here == there else await self._attributes.match(there, RESOURCE_TYPES)

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


def _completion(target: LaunchTarget, given: literals_pb2.LiteralMap) -> bytes:
    """Check what the caller gave; the serialized defaults and fixed inputs that belong to it."""
    try:
        return missing_inputs(target.expected, target.spec.fixed_inputs, given).SerializeToString()
    except InvalidInputError as error:
        raise invalid_argument(str(error)) from error


def _known_inputs(target: LaunchTarget, given: literals_pb2.LiteralMap) -> Sequence[tuple[str, str]]:
    """What values the caller gave are known by elsewhere, as (variable, token); values that refer to nothing are not
    looked into."""
    parameters = target.expected.parameters
    return [
        (name, token)
        for name, literal in given.literals.items()
        if literal.hash or may_refer(parameters[name].var.type)
        for token in message_tokens(literal)
    ]


def _deadlines(
    request: execution_pb2.ExecutionSpec,
    target: LaunchTarget,
    configs: Sequence[matchable_resource_pb2.WorkflowExecutionConfig],
) -> Deadlines:
    """Each from the first that says it: request, launch plan, then `configs`."""
    deadlines = stated_deadlines(request.annotations.values, request.quality_of_service).over(target.deadlines)
    for config in configs:
        deadlines = deadlines.over(stated_deadlines(config.annotations.values))
    return deadlines


def _taken(identifier: identifier_pb2.WorkflowExecutionIdentifier) -> ApiError:
    return already_exists(f"execution [{execution_label(identifier)}] already exists")


def _key(request: execution_pb2.ExecutionCreateRequest, caller: Caller, new: NewExecution) -> bytes:
    """Equal for calls that mean the same and would run the same: who, over which connection, the request, and what was
    resolved for it, so that whoever changes an attribute and launches again is not taken for a repetition."""
    attributes = new.attributes
    digest = hashlib.sha256(f"{caller.peer}\n{caller.principal}\n{new.source_execution_id}\n".encode())
    digest.update(f"{attributes.cluster_label}\n{attributes.cluster_pool}\n{attributes.queue_tags}\n".encode())
    digest.update(f"{new.deadlines}\n".encode())
    for message in (request, new.config, attributes.task_resources, attributes.plugin_overrides):
        data = message.SerializeToString(deterministic=True)
        digest.update(len(data).to_bytes(8) + data)
    if new.recovery is not None:
        digest.update(new.recovery.SerializeToString(deterministic=True))
    return digest.digest()
