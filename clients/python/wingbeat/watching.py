"""Watching transitions as they become durable, across broken connections and restarted servers.

After each message of the stream its cursor is kept; when the stream breaks, the next one goes on after it. So every
transition is given once, in commit order. A program that wants to go on after its own end keeps the cursor of the last
transition it has dealt with.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from wingbeat.connection import Resumption
from wingbeat.core import Core, ExecutionRef
from wingbeat.errors import ServerError, UnavailableError
from wingbeat.executions import AttemptPhase, Failure, NodePhase, Phase
from wingbeat.identifiers import EntityId, ExecutionId, Kind

if TYPE_CHECKING:
    from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

_SERVICE = "/wingbeatidl.watch.v1.WatchService/"


class Level(Enum):
    """What transitions are about."""

    EXECUTION = 1
    NODE = 2
    ATTEMPT = 3


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of phase of an execution, a node or an attempt.

    `cursor` is that of the message it came with: a watch from there goes on after *all* transitions of the message;
    `is_last` says whether this is the last one of them.
    """

    level: Level
    execution: ExecutionId
    phase: Phase | NodePhase | AttemptPhase
    is_final: bool
    """Nothing follows for this execution or node."""
    at: datetime
    node: str
    """Unique id of the node; empty at the level of executions."""
    node_name: str
    attempt: int
    entity: EntityId | None
    """What the execution runs."""
    batch: str
    failure: Failure | None
    outputs: Mapping[str, Any] | None
    """Of what succeeded, when they are asked for."""
    cursor: str
    is_last: bool
    message: "transition_pb2.Transition" = field(repr=False, compare=False)


class Watching(Core):
    """Streams of transitions."""

    async def watch(
        self,
        executions: Iterable[ExecutionRef] = (),
        *,
        levels: Iterable[Level] = (Level.EXECUTION,),
        cursor: str = "",
        from_oldest: bool = False,
        project: str | None = None,
        domain: str | None = None,
        every_project: bool = False,
        batches: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        launch_plan: str = "",
        workflow: str = "",
        task: str = "",
        phases: Iterable[Phase] = (),
        with_outputs: bool = False,
    ) -> AsyncIterator[Transition]:
        """Transitions in commit order, each once, until the caller stops; broken connections are resumed.

        Begins after `cursor`, else with the oldest that is kept (`from_oldest`; with `executions`: with the story of
        each), else now. Executions, batches, labels, entities and phases narrow it; without `executions` those of the
        client's project and domain, or of all (`every_project`).

        Raises OutOfRangeError when the log does not reach back to the cursor (`metadata["oldest"]` does),
        UnavailableError when no server is found for longer than the client's patience.
        """
        from wingbeatidl.watch.v1 import watch_pb2

        names = [self.execution_id(one) for one in executions]
        request = watch_pb2.WatchTransitionsRequest(
            levels=[level.value for level in levels],  # pyright: ignore[reportArgumentType]
            cursor=cursor,
            start=watch_pb2.START_OLDEST if from_oldest else watch_pb2.START_NOW,
            with_outputs=with_outputs,
        )
        chosen = request.filter
        if names:
            places = {(name.project, name.domain) for name in names}
            if len(places) != 1:
                raise ValueError("the executions of one watch belong to one project and domain")
            chosen.project, chosen.domain = places.pop()
            chosen.executions.extend(name.name for name in names)
        elif not every_project:
            chosen.project, chosen.domain = project or self.project, domain or self.domain
        chosen.batches.extend(batches)
        chosen.labels.update(labels or {})
        chosen.execution_phases.extend(phase.value for phase in phases)  # pyright: ignore[reportArgumentType]
        for kind, name in ((Kind.LAUNCH_PLAN, launch_plan), (Kind.WORKFLOW, workflow), (Kind.TASK, task)):
            if name:
                chosen.entities.add(kind=_entity_kind(kind), name=name)
        async for transition in self.watch_messages(request):
            yield transition

    async def watch_messages(
        self, request: "watch_pb2.WatchTransitionsRequest", *, heartbeat_s: float = 15.0
    ) -> AsyncIterator[Transition]:
        """The same for a request of the caller's making, which is not changed. Raises as `watch`."""
        async for message in self.watch_raw(request, heartbeat_s=heartbeat_s):
            last = len(message.transitions) - 1
            for position, one in enumerate(message.transitions):
                yield await self._transition(one, message.cursor, is_last=position == last)

    async def watch_raw(
        self, request: "watch_pb2.WatchTransitionsRequest", *, heartbeat_s: float = 15.0
    ) -> "AsyncIterator[watch_pb2.WatchTransitionsResponse]":
        """The messages of the stream as they are, resumed like the others; the cheapest way to read many transitions.

        Heartbeats (messages without transitions) are given, too: they have a cursor.
        """
        from wingbeatidl.watch.v1 import watch_pb2

        self._use()
        own = watch_pb2.WatchTransitionsRequest()
        own.CopyFrom(request)
        own.heartbeat.FromTimedelta(timedelta(seconds=heartbeat_s))
        again = Resumption(self._connection.patience.stream_s)
        if not own.cursor and own.start != watch_pb2.START_OLDEST:
            # So that nothing is missed if the stream breaks before its first message.
            own.cursor = await self.cursor()
        while True:
            try:
                stream = self._connection.stream(
                    f"{_SERVICE}WatchTransitions",
                    own,
                    watch_pb2.WatchTransitionsResponse,
                    silence_s_max=4 * heartbeat_s,
                )
                async for message in stream:
                    again.lived()
                    own.cursor = message.cursor
                    yield message
                failure: ServerError = UnavailableError("UNAVAILABLE", "the server ended the stream")
            except ServerError as error:
                failure = error
            await again.pause(failure)

    async def cursor(self) -> str:
        """A cursor after everything that is committed now: take it, launch, and watch from before the launch."""
        from wingbeatidl.watch.v1 import watch_pb2

        request = watch_pb2.GetCursorRequest()
        return (await self.call(f"{_SERVICE}GetCursor", request, watch_pb2.GetCursorResponse)).now

    async def _transition(self, one: "transition_pb2.Transition", cursor: str, *, is_last: bool) -> Transition:
        phase: Phase | NodePhase | AttemptPhase
        match one.WhichOneof("phase"):
            case "node_phase":
                phase = NodePhase(one.node_phase)
            case "attempt_phase":
                phase = _ATTEMPT_PHASES.get(one.attempt_phase, AttemptPhase.UNDEFINED)
            case _:
                phase = Phase(one.execution_phase)
        entity = one.entity
        kinds = {1: Kind.LAUNCH_PLAN, 2: Kind.WORKFLOW, 3: Kind.TASK}
        return Transition(
            level=Level(one.level),
            execution=ExecutionId.of(one.execution),
            phase=phase,
            is_final=one.is_final,
            at=one.at.ToDatetime(tzinfo=UTC),
            node=one.node.node_id,
            node_name=one.node.name,
            attempt=one.attempt,
            entity=EntityId(
                kinds.get(entity.kind, Kind.LAUNCH_PLAN), entity.project, entity.domain, entity.name, entity.version
            )
            if entity.name
            else None,
            batch=one.batch,
            failure=Failure(one.error.code, one.error.message, _KINDS.get(one.error.kind, "UNKNOWN"))
            if one.HasField("error")
            else None,
            outputs=await self._outputs(one) if one.HasField("outputs") else None,
            cursor=cursor,
            is_last=is_last,
            message=one,
        )

    async def _outputs(self, one: "transition_pb2.Transition") -> dict[str, Any]:
        from flyteidl.core import literals_pb2

        from wingbeat.literals.decode import decode_map

        match one.outputs.WhichOneof("form"):
            case "literals":
                data = one.outputs.literals
            case "uri":
                data = await self.transfers.read(one.outputs.uri)
            case _:
                data = b""
        literals = literals_pb2.LiteralMap.FromString(data)
        await self.transfers.fetch_offloaded(literals)
        return decode_map(literals, self.transfers)


_KINDS = {0: "UNKNOWN", 1: "USER", 2: "SYSTEM"}
_ATTEMPT_PHASES = {phase.value: phase for phase in AttemptPhase}


def _entity_kind(kind: Kind) -> "transition_pb2.EntityKind":
    from wingbeatidl.watch.v1 import transition_pb2

    return getattr(transition_pb2, f"ENTITY_KIND_{kind.name}")
