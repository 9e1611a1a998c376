"""The workers of one engine and the attempts given to them. Implements Runtime and Lanes.

Fencing: each handing over of an attempt has a token of its own, and a report counts only with the token that was given
out last. So a worker that was taken for dead and comes back can report nothing, and is told to stop what it still runs.

A worker is lost when nothing was heard of it for the time of a lease; its attempts have failed by then, for a reason of
the system's, and run elsewhere. A stream that breaks and begins again within the lease costs nothing: the worker says
what it has, and what it never got is sent again.

After a crash of the engine the workers still run what they were given, and keep ends until they are told to forget
them. The next engine asks all of them for each attempt that it takes up (`adopt`); whoever has it goes on under a new
token. Everything here happens on one event loop.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from flyteidl.core import tasks_pb2
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.memo import Memo
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest, RuntimeRequest
from wingbeat_propeller.runtimes.worker.assignments import Assignments, Handover
from wingbeat_propeller.runtimes.worker.ends import end_of, lost
from wingbeat_propeller.runtimes.worker.log_files import LogFiles
from wingbeat_propeller.runtimes.worker.needs import Needs, needs_of, runs_with
from wingbeat_propeller.runtimes.worker.options import WorkerPoolOptions
from wingbeat_propeller.runtimes.worker.session import Session
from wingbeatidl.worker.v1 import worker_pb2

_log = structlog.get_logger(__name__)
_WORKERS = Gauge("wingbeat_workers", "Workers connected to this engine")
_SLOTS = Gauge("wingbeat_worker_slots", "Slots of the workers connected to this engine")
_ASSIGNED = Gauge("wingbeat_worker_attempts", "Attempts that workers have room for or run")
_LOST = Counter("wingbeat_workers_lost", "Workers of which nothing was heard for a lease")
_STALE = Counter("wingbeat_worker_stale_reports", "Reports of workers about attempts that are not theirs")

RETURN_REST_S = 1.0
"""How long a worker that takes tasks and gives them back is given no more."""
NEEDS_MAX = 10_000
"""Tasks whose needs are remembered."""
LANES_MAX = 10_000
"""Kinds of needs that are remembered; beyond, only those of attempts that wait."""


class TooManyWorkersError(RuntimeError):
    """There are as many as may be."""


@dataclass(slots=True)
class _Given:
    """An attempt that a worker was given."""

    session: Session
    token: int
    origin: AttemptOrigin | None
    handover: Handover | None
    """None when another engine gave it out."""
    given_at: float
    is_started: bool = False
    has_ended: bool = False


class WorkerPool:
    """See the module."""

    def __init__(self, options: WorkerPoolOptions) -> None:
        self._options = options
        self._sessions: dict[str, Session] = {}
        self._given: dict[str, _Given] = {}
        self._reserved: dict[str, Session] = {}
        """Attempts that have room and were not handed over yet."""
        self._tokens = secrets.randbits(31) << 32
        self._streams = 0
        self._needs_of: Memo[tasks_pb2.TaskTemplate, Needs | None] = Memo(needs_of, NEEDS_MAX)
        self._lanes: dict[str, Needs] = {}
        self._lane_names: dict[Needs, str] = {}
        self._lanes_made = 0
        self._serving: dict[str, Sequence[Session]] = {}
        """Workers of each lane; emptied when any of them changes."""
        self._assignments = Assignments(store_env=options.store_env, extra_env=options.extra_env)
        self._logs = LogFiles(options.state_dir, options.logs_url_base, options.log_bytes_max)
        self._sink: Callable[[Sequence[RuntimeEvent]], None] | None = None
        self._changed: Callable[[bool], None] = lambda _: None
        self._returned: Callable[[Sequence[str]], None] = lambda _: None
        self._began_at: float | None = None

    # ---- Lanes ----

    def subscribe_lanes(self, *, changed: Callable[[bool], None], returned: Callable[[Sequence[str]], None]) -> None:
        """See ports.Lanes.subscribe."""
        self._changed, self._returned = changed, returned

    def lane(self, launch: Launch, tenant: tuple[str, str], labels: Mapping[str, str], envs: Mapping[str, str]) -> str:
        """See ports.Lanes."""
        waits = self._options.policy(tenant[0]) == "wait"
        if not self._sessions and not waits:
            return ""
        needs = self._needs_of(launch.task.template)
        if needs is None or not runs_with(envs):
            return ""
        lane = self._lane_of(needs.with_labels(labels))
        return lane if waits or self._workers_of(lane) else ""

    def take(self, lane: str, name: str) -> bool:
        """See ports.Lanes. The worker with the most free slots gets it."""
        with_room = [one for one in self._workers_of(lane) if one.has_room]
        if any(one.rests_until for one in with_room):
            now = self._now()
            with_room = [one for one in with_room if one.rests_until <= now]
        if not with_room:
            return False
        best = with_room[0] if len(with_room) == 1 else max(with_room, key=_free)
        best.names.add(name)
        self._reserved[name] = best
        return True

    def holds(self, name: str) -> bool:
        """See ports.Lanes."""
        return name in self._reserved or name in self._given

    def capacity(self, lane: str) -> int:
        """See ports.Lanes."""
        workers = [session for session in self._workers_of(lane) if session.stream]
        return sum(session.slots - session.elsewhere + session.ahead for session in workers)

    def wants(self, lane: str) -> str:
        """See ports.Lanes."""
        return "" if self._workers_of(lane) else str(self._lanes.get(lane, ""))

    def free(self, names: Sequence[str]) -> None:
        """These attempts are over, or not to run here."""
        is_room = False
        for name in names:
            session = self._reserved.pop(name, None)
            if session is None:
                given = self._given.get(name)
                session = None if given is None else given.session
            if session is not None:
                session.names.discard(name)
                is_room = True
        if is_room:
            self._changed(False)

    def leave(self, names: Sequence[str]) -> None:
        """Another engine drives these attempts from now on, or nobody waits for them: workers go on with those that
        run, and the engine that wants them asks for them."""
        for name in names:
            given = self._given.get(name)
            if given is None:
                continue
            given.session.names.discard(name)
            if given.has_ended:
                given.session.forget(name)
            del self._given[name]
            self._logs.forget(name)
        self.free(names)

    # ---- Runtime ----

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """See ports.Runtime."""
        self._sink = sink

    async def run(self) -> None:
        """Watch over leases and write logs until cancelled; workers go on, for the next engine to find."""
        self._began_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._logs.run(), name="logs of workers")
            while True:
                await asyncio.sleep(self._options.lease_s / 8)
                self._end_silent()
                self._bound_lanes()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Send attempts to the workers that have room for them."""
        returned: list[str] = []
        for request in requests:
            assert isinstance(request, ContainerRequest), "only containers run in workers"
            name = request.name
            session = self._reserved.pop(name, None)
            if name in self._given:
                continue
            if session is None or self._sessions.get(session.worker_id) is not session:
                returned.append(name)
                continue
            token = self._new_token()
            handover = self._assignments.make(request, token)
            self._given[name] = _Given(session, token, request.origin, handover, time.time())
            session.assign(handover)
        _ASSIGNED.set(len(self._given))
        if returned:
            self._returned(returned)

    async def abort(self, names: Sequence[str]) -> None:
        """Have attempts stopped."""
        for name in names:
            given = self._given.pop(name, None)
            if given is not None:
                given.session.names.discard(name)
                given.session.abort(worker_pb2.Reference(name=name, token=given.token))
                self._logs.forget(name)
        self.free(names)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Ask all workers for attempts; who has one goes on with it for this engine."""
        known = [name for name in names if name in self._given]
        for name in known:
            self._repeat(name)
        asked = [name for name in names if name not in self._given]
        if not asked:
            return known
        await self._wait_for_workers()
        sessions = [session for session in self._sessions.values() if session.stream]
        for session in sessions:
            for name in asked:
                session.adopt(worker_pb2.Reference(name=name, token=self._new_token()))
        try:
            async with asyncio.timeout(self._options.lease_s):
                for session in sessions:
                    await session.answered.wait()
        except TimeoutError:
            _log.warning("not every worker has said what it runs")
        return [name for name in names if name in self._given]

    async def forget(self, names: Sequence[str]) -> None:
        """The ends of these attempts are journaled."""
        for name in names:
            given = self._given.pop(name, None)
            if given is not None:
                given.session.names.discard(name)
                given.session.forget(name)
                self._logs.forget(name)
        _ASSIGNED.set(len(self._given))

    def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Attempts that say where they belong."""
        return {name: given.origin for name, given in self._given.items() if given.origin is not None}

    # ---- what streams say ----

    def connect(self, hello: worker_pb2.Hello) -> tuple[Session, int, worker_pb2.Welcome]:
        """A stream begins; its session and number. Raises TooManyWorkersError."""
        options = self._options
        session = self._sessions.get(hello.worker_id)
        slots = min(hello.slots, options.slots_max)
        if session is None:
            if len(self._sessions) >= options.workers_max:
                raise TooManyWorkersError(f"{options.workers_max} workers are connected already")
            session = Session(hello, slots, self._now())
            self._sessions[hello.worker_id] = session
            _log.info("worker connected", worker=hello.name, slots=slots)
        self._streams += 1
        session.stream = self._streams
        session.restart()
        session.heard_at = self._now()
        held = {one.reference.name: one.reference.token for one in hello.held}
        for name, token in held.items():
            given = self._given.get(name)
            ours = given is not None and given.session is session and given.token == token
            if not ours and token >> 32 == self._tokens >> 32:
                session.abort(worker_pb2.Reference(name=name, token=token))  # it was given up meanwhile
        for name, given in self._given.items():
            if given.session is session and name not in held and given.handover and not given.has_ended:
                session.assign(given.handover)  # the stream broke before it arrived
        self._workers_changed()
        return session, session.stream, worker_pb2.Welcome(lease_s=options.lease_s, slots=slots)

    def disconnect(self, session: Session, stream: int) -> None:
        """A stream has ended; the worker may come back."""
        if session.stream == stream:
            session.stream = 0
            session.wake()
            session.answered.set()
            if session.draining and not session.names:
                self._sessions.pop(session.worker_id, None)
            self._workers_changed()

    def hear(self, session: Session, request: worker_pb2.WorkRequest) -> None:
        """A worker says something; what it says of attempts that are not its own counts for nothing."""
        session.heard_at = self._now()
        events: list[RuntimeEvent] = []
        for chunk in request.logs:
            if self._is_own(session, chunk.reference):
                self._logs.add(chunk.reference.name, "stderr" if chunk.stderr else "stdout", chunk.content)
        for held in request.held:
            self._adopted(session, held.reference)
        for unknown in request.unknown:
            session.answer(unknown.name)
        for started in request.started:
            if self._is_own(session, started.reference):
                events += self._started(started.reference.name, started.at)
        for ended in request.ended:
            if self._is_own(session, ended.reference):
                events += self._ended(ended)
        if events:
            self._report(events)
        if request.draining and not session.draining:
            session.draining = True
            _log.info("worker takes no more tasks", worker=session.name)
            self._workers_changed()
        if request.HasField("ahead"):
            had, session.ahead = session.ahead, min(max(request.ahead, 0), self._options.slots_max)
            if session.ahead > had:
                self._changed(False)
        if request.returned:
            self._give_back(session, request.returned)
        if request.leaving:
            self._give_back(session, self._unheard_of(session))
        if request.HasField("slots_elsewhere"):
            session.elsewhere = min(max(request.slots_elsewhere, 0), session.slots)
            self._changed(False)

    # ---- parts ----

    def _unheard_of(self, session: Session) -> Sequence[worker_pb2.Reference]:
        """What a worker was given that has not ended: sent before the engine knew that it takes nothing more."""
        given = [(name, self._given.get(name)) for name in session.names]
        return [
            worker_pb2.Reference(name=name, token=one.token)
            for name, one in given
            if one is not None and not one.has_ended
        ]

    def _started(self, name: str, at: float) -> Sequence[RuntimeEvent]:
        given = self._given[name]
        at = self._moment(at, given)
        given.is_started, given.given_at = True, at
        return [Started(name, at, self._logs.links(name))]

    def _ended(self, report: worker_pb2.Ended) -> Sequence[RuntimeEvent]:
        name = report.reference.name
        given = self._given[name]
        started_at = None
        if not given.is_started:
            started_at = self._moment(report.started_at, given)
            given.is_started, given.given_at = True, started_at
        given.has_ended, given.handover = True, None
        end = end_of(report, self._moment(report.ended_at, given), self._logs.links(name))
        return [end if started_at is None else end._replace(started_at=started_at)]

    @staticmethod
    def _moment(at: float, given: _Given) -> float:
        """A time of the worker's clock, kept between what this machine's says of the attempt."""
        return max(given.given_at, min(at, time.time()))

    def _adopted(self, session: Session, reference: worker_pb2.Reference) -> None:
        if reference.name in session.asked and reference.name not in self._given:
            if (reserved := self._reserved.pop(reference.name, None)) is not None:
                reserved.names.discard(reference.name)
            self._given[reference.name] = _Given(session, reference.token, None, None, 0.0)
            session.names.add(reference.name)
        elif not self._is_own(session, reference):
            session.abort(reference)
        session.answer(reference.name)

    def _repeat(self, name: str) -> None:
        given = self._given[name]
        if given.session.stream:
            given.session.adopt(worker_pb2.Reference(name=name, token=given.token))

    def _give_back(self, session: Session, references: Sequence[worker_pb2.Reference]) -> None:
        names = [one.name for one in references if self._is_own(session, one)]
        for name in names:
            del self._given[name]
            session.names.discard(name)
        if names:
            if session.has_room:
                # Other engines were quicker, or it has not the room that it says: it would get the same again at once.
                session.rests_until = self._now() + RETURN_REST_S
                asyncio.get_running_loop().call_later(RETURN_REST_S, self._changed, False)
            self._returned(names)

    def _is_own(self, session: Session, reference: worker_pb2.Reference) -> bool:
        given = self._given.get(reference.name)
        if given is not None and given.session is session and given.token == reference.token:
            return True
        _STALE.inc()
        return False

    def _end_silent(self) -> None:
        """Give up workers whose lease is over."""
        now = self._now()
        for session in list(self._sessions.values()):
            if now - session.heard_at <= self._options.lease_s:
                continue
            has_hung_up = session.draining and not session.stream
            self._give_up(session, "has hung up" if has_hung_up else "was not heard of in time")

    def _give_up(self, session: Session, why: str) -> None:
        _LOST.inc()
        self._sessions.pop(session.worker_id, None)
        session.stream = 0
        session.wake()
        session.answered.set()
        given = {name: one for name, one in self._given.items() if one.session is session}
        _log.warning("worker given up", worker=session.name, reason=why, attempts=len(given))
        failure = lost(session.name, why)
        events: list[RuntimeEvent] = []
        for name, one in given.items():
            del self._given[name]
            if not one.has_ended:
                events.append(self._lost(name, failure))
        reserved = [name for name, at in self._reserved.items() if at is session]
        for name in reserved:
            del self._reserved[name]
        if events:
            self._report(events)
        self._workers_changed()

    def _lost(self, name: str, failure: Failure) -> Ended:
        ended = Ended(name, time.time(), failure, logs=self._logs.links(name))
        self._logs.forget(name)
        return ended

    async def _wait_for_workers(self) -> None:
        """Workers need a moment to find an engine that has just started."""
        began = self._now() if self._began_at is None else self._began_at
        left = began + self._options.adopt_grace_s - self._now()
        if left > 0:
            await asyncio.sleep(left)

    def _lane_of(self, needs: Needs) -> str:
        lane = self._lane_names.get(needs)
        if lane is None:
            self._lanes_made += 1
            lane = self._lane_names[needs] = f"worker-{self._lanes_made}"
            self._lanes[lane] = needs
        return lane

    def _bound_lanes(self) -> None:
        """Labels of executions make lanes without end: forget them all, and those that are needed are made again."""
        if len(self._lanes) > LANES_MAX:
            self._lanes.clear()
            self._lane_names.clear()
            self._serving.clear()
            self._changed(True)

    def _workers_of(self, lane: str) -> Sequence[Session]:
        """Those that may run what is in a lane, but for those that take no more."""
        serving = self._serving.get(lane)
        if serving is None:
            needs, environments = self._lanes.get(lane), self._options.environments
            if needs is None:
                return ()  # it was forgotten
            serving = self._serving[lane] = [
                session
                for session in self._sessions.values()
                if not session.draining and session.announcement.meets(needs, environments)
            ]
        return serving

    def _workers_changed(self) -> None:
        self._serving.clear()
        _WORKERS.set(len(self._sessions))
        _SLOTS.set(sum(session.slots for session in self._sessions.values()))
        self._changed(True)

    def _new_token(self) -> int:
        self._tokens += 1
        return self._tokens

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _report(self, events: Sequence[RuntimeEvent]) -> None:
        assert self._sink is not None, "subscribe to the runtime before launching"
        self._sink(events)


def _free(session: Session) -> int:
    return session.free
