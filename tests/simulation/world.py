"""A world: some engines over one database, one machine and one blob store, random executions, and what goes wrong.

Everything follows from one seed. `World(seed).run()` raises Violation (or another AssertionError) when a promise is
broken; `trace` then tells what happened, when it was asked for.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg
import structlog
from flyteidl.admin import execution_pb2, matchable_resource_pb2
from flyteidl.core import literals_pb2

from tests.simulation.blobs import BASE, SimulatedBlobs
from tests.simulation.cache import Entries, SimulatedCache
from tests.simulation.checkers import Checkers, Launched, Violation
from tests.simulation.control_plane import SimulatedLauncher, SimulatedTerminator
from tests.simulation.database import SimulatedDatabase
from tests.simulation.describe import describe
from tests.simulation.faults import FaultPlan, Faults, draw_plan
from tests.simulation.interpreter import SYSTEM_RETRIES_MAX, Expectation, Known, interpret
from tests.simulation.loop import Process, SimulatedLoop, current_process
from tests.simulation.machine import Machine, SimulatedRuntime
from tests.simulation.plugin import EngineTasksPlugin, SimulatedTasks
from tests.simulation.programs import (
    INPUT,
    Dice,
    Workflow,
    make_cacheable,
    make_nested_cacheable,
    tasks_of,
    workflows_of,
)
from tests.simulation.render import DOMAIN, PROJECT, boolean, closure, integer
from tests.simulation.rules import NO_RULES, PLAN, draw_rules
from tests.simulation.server import Client, SimulatedServer
from wingbeat_controlplane.executions.children import ChildExecutions
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.engine.dispatch.starter import STARTING_MAX
from wingbeat_propeller.engine.engine import Engine
from wingbeat_propeller.engine.options import EngineOptions
from wingbeat_propeller.engine.value_reader import READING_MAX
from wingbeat_propeller.ports.journal import LeaseLostError
from wingbeat_propeller.ports.signals import SignalKey
from wingbeat_propeller.ports.tasks import AttemptOrigin, RuntimeRequest
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.journal_batch import plain_commit
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.lines import PostgresLines
from wingbeat_propeller.postgres.queries import load_queries
from wingbeat_propeller.postgres.signals import PostgresSignals
from wingbeat_propeller.postgres.slots import PostgresSlots
from wingbeat_propeller.postgres.sources import PostgresSources
from wingbeat_propeller.tasks.registry import TaskPlugins

EPOCH = 1_700_000_000.0
SETTLE_S = 300.0
"""Virtual seconds after the end of all faults within which everything must have ended."""
LATE_S = 5.0
"""The latest event of the runtime has arrived by then."""
CLEAN_S = 60.0
"""Virtual seconds after the end of all executions within which everything must be let go."""
_COMMIT = load_queries("wingbeat_propeller.postgres", "journal.sql")["commit"]
_COMMITS = (_COMMIT, plain_commit(_COMMIT))


class _Slot:
    """A place for an engine process, in which one follows the other."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.engine: Engine | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopping = False
        """It was told to stop; another time changes nothing."""
        self.ended = asyncio.Event()
        """The process in it has ended, or was killed."""

    def stop(self) -> None:
        """SIGTERM, once."""
        if self.task is not None and not self.stopping:
            self.stopping = True
            self.task.cancel()


class World:
    """See the module. `plan` replaces the faults that the seed would draw."""

    def __init__(self, seed: int, *, plan: FaultPlan | None = None, trace: Callable[[str], None] | None = None) -> None:
        rng = random.Random(seed)
        self.seed = seed
        self._trace = trace
        self._rng = random.Random(rng.random())
        self.rules = draw_rules(random.Random(f"{seed} rules"))
        self.loop = SimulatedLoop(random.Random(rng.random()))
        self.loop.unhandled = self._fail
        self.plan = plan or draw_plan(random.Random(rng.random()))
        self.faults = Faults(random.Random(rng.random()), self.plan)
        self.objects: dict[str, bytes] = {}
        self.database = SimulatedDatabase(self._wall_clock)
        self.server = SimulatedServer(self.database, self.faults, self.loop.world)
        self.server.applied = self._applied
        self.server.failed = self._fail
        self.tasks = SimulatedTasks(seed, self.plan, self.objects)
        self.machine = Machine(
            self.loop.world,
            self.faults,
            self.tasks,
            capacity=self._rng.choice((1, 2, 4, 100)) if self.faults.on else 1000,
            clock=self._wall_clock,
        )
        self.machine.launched = self._launched
        self.machine.failed = self._fail
        self.checkers = Checkers(self.database, self.objects)
        self._slots: list[_Slot] = []
        self._terms: dict[Process, int] = {}
        self._live_max = random.Random(f"{seed} memory").choice((1, 2, 20_000, 20_000)) if self.faults.on else 20_000
        self._shares_rng = random.Random(f"{seed} shares")
        self._cache_rng = random.Random(f"{seed} cache")
        self._nested_rng = random.Random(f"{seed} nested")
        self._caches = self._cache_rng.random() < 0.6
        """Whether some tasks are cacheable."""
        self.entries = Entries(self._wall_clock, self.database.notified)
        self._has_limits = self._shares_rng.random() < 0.5 and self.faults.on
        self.database.aborted = self._aborted
        self._workflows: dict[str, tuple[int, Workflow]] = {}
        """Registered workflows and their row ids, by name."""
        self._lease_s = self._rng.choice((1.5, 6.0))
        self._closing = False
        self._failure: asyncio.Future[None] | None = None

    def run(self) -> None:
        """Live from the first launch to the end of all work. Raises what was broken."""
        with self._surroundings():
            self.loop.run(self._main())

    def note(self, text: str) -> None:
        """A line for the trace."""
        if self._trace is not None:
            self._trace(f"{self.loop.time():9.4f}  {text}")

    # ---- the course of the world ----

    async def _main(self) -> None:
        self._failure = asyncio.get_running_loop().create_future()
        life = asyncio.create_task(self._live())
        await asyncio.wait({life, self._failure}, return_when=asyncio.FIRST_COMPLETED)
        if self._failure.done():
            life.cancel()
            self._failure.result()
        try:
            life.result()
        except BaseExceptionGroup as group:
            leaf = next(_leaves(group))
            raise leaf from leaf.__cause__

    async def _live(self) -> None:
        self.note(f"faults: {self.plan}")
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._rng.randint(1, 3)):
                slot = _Slot()
                self._slots.append(slot)
                tasks.create_task(self._supervise(slot))
            arrivals = tasks.create_task(self._launch_executions())
            for fault in self._timed_faults():
                tasks.create_task(fault)
            if self._has_limits:
                tasks.create_task(self._change_shares())
            await asyncio.sleep(self.plan.until_s)
            await arrivals
            self._heal()
            await self._until_all_ended()
            await asyncio.sleep(LATE_S)
            await self._until_clean()
            await self._until_all_ended()  # an orphan may have been launched meanwhile
            self.checkers.check_end()
            await self._stop_all()
            self.note("the world is at rest")

    async def _launch_executions(self) -> None:
        rng = self._rng
        dice = Dice(rng, is_calm=not self.faults.on)
        tops: list[Workflow] = []
        for number in range(rng.randint(1, 3)):
            top = dice.workflow(f"wf{number}")
            if self._caches:
                make_cacheable(top, self._cache_rng)
                make_nested_cacheable(top, self._nested_rng)
            tops.append(top)
            for workflow in (top, *workflows_of(top)):
                row = self.database.insert_workflow(closure(workflow).SerializeToString())
                self._workflows[workflow.name] = row, workflow
            self.tasks.tasks.update((task.name, task) for task in tasks_of(top))
            for line in describe(top) if self._trace is not None else ():
                self.note(line)
        for number in range(rng.randint(1, 4)):
            await asyncio.sleep(rng.choice((0.0, 0.0, 0.5, 2.0)) * rng.random())
            self._launch_one(f"e{number}", rng.choice(tops))

    async def _change_shares(self) -> None:
        """Limits and weights that come, change and go while faults last."""
        rng = self._shares_rng
        pause_s = 0.0
        for _ in range(rng.randint(1, 5)):
            await asyncio.sleep(pause_s)
            pause_s = rng.random() * self.plan.until_s / 2
            scope = (PROJECT, rng.choice(("", DOMAIN)))
            if rng.random() < 0.25:
                self.database.slots.delete(scope)
                self.note(f"share of {scope} deleted")
            else:
                share = rng.choice((None, 1, 5)), rng.choice((None, 1, 1, 2, 3))
                self.database.slots.set(scope, *share)
                self.note(f"share of {scope}: weight {share[0]}, running_max {share[1]}")
            self.database.notified("wingbeat_shares", "")

    def _launch_one(self, name: str, workflow: Workflow) -> None:
        rng = self._rng
        value = rng.randint(0, 99)
        if self._caches and self._cache_rng.random() < 0.7:
            value = 42  # so that calls are the same
        expectation = interpret(workflow, Known(value, is_bare=True), name, self.tasks.outcome)
        inputs = literals_pb2.LiteralMap(literals={INPUT: integer(value)}).SerializeToString()
        key = self._insert(name, workflow, expectation, inputs, max_parallelism=rng.choice((0, 0, 1, 2, 3)))
        if self.faults.happens(self.plan.aborts):
            self.loop.world.call_later(rng.random() * 5.0, self._abort, key)

    def _insert(
        self,
        name: str,
        workflow: Workflow,
        expectation: Expectation,
        inputs: bytes,
        *,
        max_parallelism: int,
        parent: Launched | None = None,
        parent_node_id: str | None = None,
    ) -> int:
        key = len(self.database.executions) + 1
        rules = self.rules.draw() if parent is None else NO_RULES
        launched = Launched(key, name, workflow, expectation, max_parallelism, parent, **rules)
        self.checkers.add(launched)
        uri = f"{BASE}/inputs/{name}" if self._rng.random() < 0.2 else None
        if uri is not None:
            self.objects[uri] = inputs
        config = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=max_parallelism)
        self.database.insert_execution(
            project=PROJECT,
            domain=DOMAIN,
            name=name,
            shard=shard_of(PROJECT, DOMAIN, name),
            workflow_id=self._workflows[workflow.name][0],
            spec=b"",
            config=config.SerializeToString(),
            inputs=inputs if uri is None else None,
            inputs_uri=uri,
            parent_execution_id=None if parent is None else parent.key,
            parent_node_id=parent_node_id,
            awaited=parent is not None,
            **self._place(launched),
        )
        self.note(f"launch {name}: {workflow.name}, {expectation.value=}, {rules}")
        if launched.replaces:
            self.database.replace_oldest(key, launched.alive_max)
        for signal_id, value in expectation.signals.items():
            self.loop.world.call_later(self._rng.random() * 8.0, self._signal, name, signal_id, value)
        return key

    def _place(self, launched: Launched) -> dict[str, object]:
        """Its place in the line of its launch plan, and its deadlines, as the API decides and writes them."""
        begin_by = None if launched.queue_s is None else self._wall_clock() + launched.queue_s
        place: dict[str, object] = {"begin_by": begin_by, "deadline_s": launched.deadline_s}
        if launched.alive_max:
            waits = self.database.alive(PLAN) >= launched.alive_max or bool(self.database.line(PLAN))
            place |= {"launch_plan_id": PLAN, "waiting": waits, "alive_max": launched.alive_max}
        return place

    def _insert_child(self, request: execution_pb2.ExecutionCreateRequest) -> None:
        origin = request.spec.metadata.parent_node_execution
        parent = self.checkers.by_name[origin.execution_id.name]
        expectation = parent.expectation.children.get(request.name)
        if expectation is None:
            raise Violation(f"{parent.name} must not launch {request.name} for its node {origin.node_id}")
        self._insert(
            request.name,
            self._workflows[request.spec.launch_plan.name][1],
            expectation,
            request.inputs.SerializeToString(),
            max_parallelism=request.spec.max_parallelism,
            parent=parent,
            parent_node_id=origin.node_id,
        )

    def _signal(self, execution: str, signal_id: str, value: bool | int) -> None:
        self.note(f"signal {signal_id} of {execution}: {value}")
        literal = boolean(value) if isinstance(value, bool) else integer(value)
        self.database.set_signal(SignalKey(PROJECT, DOMAIN, execution, signal_id), literal.SerializeToString())

    def _abort(self, key: int) -> None:
        """Somebody aborts an execution, or one that it has launched."""
        children = [one for one in self.checkers.executions.values() if one.parent and one.parent.key == key]
        launched = self._rng.choice([self.checkers.executions[key], *children])
        asked = self.database.request_abort(launched.key, "enough")
        self.note(f"abort {launched.name}: {'asked' if asked else 'too late'}")
        while asked and launched.parent is not None:
            launched = launched.parent
            launched.disturbed = True

    def _aborted(self, key: int) -> None:
        self.note(f"abort of {self.checkers.executions[key].name} is asked for")
        self.checkers.executions[key].aborted = True

    async def _until_all_ended(self) -> None:
        deadline = self.loop.time() + SETTLE_S
        while open_ := [row["name"] for row in self.database.executions.values() if row["ended_at"] is None]:
            if self.loop.time() > deadline:
                raise Violation(f"{SETTLE_S:g} s after the last fault {open_} have not ended:\n{self._state()}")
            await asyncio.sleep(0.25)
        self.note("all executions have ended")

    def _heal(self) -> None:
        """No faults from here on."""
        self.note("faults end")
        self.faults.on = False
        for slot in self._slots:
            if slot.process is not None:
                slot.process.fuse = 0
                self.loop.resume(slot.process)

    # ---- processes ----

    async def _supervise(self, slot: _Slot) -> None:
        """Start an engine, and another one when it has ended."""
        while not self._closing:
            process = self.loop.add_process(f"p{len(self.loop.processes)}")
            process.offset_s = 0.0
            slot.process = process
            slot.stopping = False
            slot.ended.clear()
            process.doom = lambda slot=slot, process=process: self._kill(slot, process)
            self.note(f"start {process.name}")
            slot.task = process.spawn(self._run_engine(slot, process), "engine")
            slot.task.add_done_callback(lambda _task, slot=slot: slot.ended.set(), context=self.loop.world.context)
            await slot.ended.wait()
            if process.alive:
                self._check_exit(process, slot.task)
                self.loop.kill(process)
            slot.process = slot.engine = slot.task = None
            await asyncio.sleep(self._rng.random() * (4.0 if self.faults.on else 0.5))

    async def _run_engine(self, slot: _Slot, process: Process) -> None:
        pool: Any = self.server.pool(process)
        blobs: Any = SimulatedBlobs(self.objects, self.faults, process, self.loop.world)
        runtime = SimulatedRuntime(self.machine, self.faults, process, self.tasks.origins)
        runtime.launching = self._handing_over
        launcher: Any = SimulatedLauncher(self.server, process, self._insert_child)

        def make_journal(term: int, rejected: Callable[[Effects, Exception], None]) -> PostgresJournal:
            self.note(f"{process.name} has term {term}")
            self._terms[process] = term
            return PostgresJournal("", term=term, blobs=blobs, rejected=rejected)

        slot.engine = Engine(
            EngineOptions(
                name=process.name,
                lease_s=self._lease_s,
                sweep_s=5.0,
                retry=RetryPolicy(system_retries_max=SYSTEM_RETRIES_MAX),
                live_max=self._live_max,
                tenant_live_min=1,
            ),
            leases=PostgresLeases(pool),
            journal=make_journal,
            store=PostgresExecutionStore(pool, ""),
            blobs=blobs,
            runtime=runtime,
            plugins=TaskPlugins([self.tasks, EngineTasksPlugin(self.tasks)], self.tasks),
            lines=PostgresLines(pool),
            slots=PostgresSlots(pool),
            signals=PostgresSignals(pool),
            sources=PostgresSources(pool),
            cache=SimulatedCache(self.entries, self.server, process),
            children=ChildExecutions(pool, launcher, SimulatedTerminator(self.server, process)),
            clock=lambda: self._wall_clock() + process.offset_s,
        )
        await slot.engine.run()

    def _check_exit(self, process: Process, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if lost := process.lost():
            raise Violation(f"{process.name} has lost sight of: {lost}")
        if task.cancelled():
            self.note(f"{process.name} has stopped")
            return
        self.note(f"{process.name} has ended: {error!r}")
        if error is None:
            raise Violation(f"the engine of {process.name} has ended without a reason")
        for leaf in _leaves(error):
            # A lost lease ends a process, and so may an outage while it joins or leaves.
            if not isinstance(leaf, (LeaseLostError, OSError)):
                raise Violation(f"the engine of {process.name} has failed: {leaf!r}") from error

    def _kill(self, slot: _Slot, process: Process) -> None:
        if slot.process is not process or not process.alive or self._closing or not self.faults.on:
            return
        self.note(f"kill {process.name}")
        self.loop.kill(process)
        self.machine.lose_some(process)
        slot.ended.set()

    # ---- faults in time ----

    def _timed_faults(self) -> Iterator[Any]:
        for _ in range(self.plan.kills):
            yield self._at_some_time(self._light_fuse)
        for _ in range(self.plan.pauses):
            yield self._at_some_time(self._pause)
        for _ in range(self.plan.stops):
            yield self._at_some_time(self._stop)
        for _ in range(self.plan.clock_jumps):
            yield self._at_some_time(self._jump)
        for _ in range(self.plan.outages):
            yield self._at_some_time(self._outage)

    async def _at_some_time(self, fault: Callable[[_Slot, Process], None]) -> None:
        await asyncio.sleep(self._rng.random() * self.plan.until_s)
        slot = self._rng.choice(self._slots)
        if slot.process is not None and self.faults.on:
            fault(slot, slot.process)

    def _light_fuse(self, _slot: _Slot, process: Process) -> None:
        process.fuse = self._rng.randint(1, 400)

    def _pause(self, _slot: _Slot, process: Process) -> None:
        pause_s = self._rng.random() * self._lease_s * 2.5
        self.note(f"pause {process.name} for {pause_s:.3f} s")
        self.loop.pause(process)
        self.loop.world.call_later(pause_s, self._resume, process)

    def _resume(self, process: Process) -> None:
        if process.alive:
            self.note(f"resume {process.name}")
        self.loop.resume(process)

    def _stop(self, slot: _Slot, process: Process) -> None:
        self.note(f"stop {process.name}")
        slot.stop()

    def _jump(self, _slot: _Slot, process: Process) -> None:
        process.offset_s += self._rng.uniform(-60.0, 60.0)
        self.note(f"the clock of {process.name} is {process.offset_s:.1f} s off")

    def _outage(self, _slot: _Slot, _process: Process) -> None:
        outage_s = self._rng.random() * self._lease_s * 2
        self.faults.outage_until_s = self.loop.time() + outage_s
        self.note(f"the database is away for {outage_s:.3f} s")

    # ---- what is seen ----

    def _applied(self, client: Client, sql: str) -> None:
        if sql in _COMMITS and isinstance(client, Process) and self.faults.happens(self.plan.kill_at_commit):
            self.note(f"about to kill {client.name} between commit and callback")
            if client.doom is not None and client.alive:
                client.doom()

    def _handing_over(self, process: Process) -> None:
        if self.faults.happens(self.plan.kill_at_launch):
            self.note(f"about to kill {process.name} while it launches")
            process.fuse = 1

    def _launched(self, process: Process, request: RuntimeRequest, origin: AttemptOrigin) -> None:
        self.note(f"{process.name} launches attempt {origin.attempt} of {origin.node_id} of {origin.execution}")
        self.checkers.launching(self._terms[process], request.name, origin)
        if self.tasks.is_serialized(request):
            self.checkers.launching_serialized(origin, self.entries)

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None and not self._failure.done():
            self.note(f"violation: {error}")
            self._failure.set_exception(error)

    def _wall_clock(self) -> float:
        return EPOCH + self.loop.time()

    # ---- the end ----

    async def _until_clean(self) -> None:
        deadline = self.loop.time() + CLEAN_S
        while left := self._left():
            if self.loop.time() > deadline:
                raise Violation(f"{CLEAN_S:g} s after the end of all executions there is still {left}\n{self._state()}")
            await asyncio.sleep(0.5)

    def _left(self) -> str:
        """What is kept anywhere although nothing is under way; empty when all is well."""
        if self.machine.attempts:
            return f"on the machine: {sorted(self.machine.attempts)}"
        if self.database.slots.taken:
            return f"slots: {self.database.slots.taken}"
        if None in self.database.shards:
            return "a shard without an owner"
        engines = [slot.engine for slot in self._slots if slot.engine is not None and slot.engine._keeper is not None]
        if len(engines) != len(self._slots) or len(self.database.members) != len(engines):
            return f"{len(engines)} of {len(self._slots)} engines, with terms {sorted(self.database.members)}"
        for engine in engines:
            hands = engine._hands
            left = {
                "executions": len(engine.live),
                "queued": hands.dispatcher.queued,
                "under way": len(hands.dispatcher._room.under_way),
                "in the engine": len(hands.dispatcher._engine_tasks),
                "starting": STARTING_MAX - hands.dispatcher._starter._starting._value,
                "starts": len(hands.dispatcher._starter._starts) + len(hands.dispatcher._starter._aborted),
                "reading": READING_MAX - hands.values._reading._value,
                "timers": len(engine._driver._timers),
                "undurable": len(engine.live.undurable),
                "backlog": engine._driver.journal.backlog,
                "slots": len(hands.slots._slots) + len(hands.slots._by_execution),
                "asked": len(hands.dispatcher._room.asked) + len(hands.slots._to_ask),
                "counts": sum(hands.slots._counts.values()) + sum(hands.slots._asked.values()),
                "held back": len(hands.slots._held_back) + len(hands.slots._aborting),
                "gates": len(hands.signals._gates) + len(hands.signals._to_look),
                "cache": 0 if hands.cache is None else hands.cache.waiting,
                "reservations": 0 if hands.reservations is None else hands.reservations.count,
                "children": len(hands.children._wanted) + len(hands.children._by_execution),
            }
            if any(left.values()):
                return f"in an engine: { ({name: count for name, count in left.items() if count}) }"
        return ""

    async def _stop_all(self) -> None:
        self._closing = True
        for slot in self._slots:
            slot.stop()
        deadline = self.loop.time() + 15.0
        while running := [slot.process.name for slot in self._slots if slot.process is not None]:
            if self.loop.time() > deadline:
                raise Violation(f"{running} do not stop")
            await asyncio.sleep(0.1)
        # One whose end was cut short ends with its lease.
        left = [term for term, member in self.database.members.items() if member.lease_expires_at > self._wall_clock()]
        if left:
            raise Violation(f"terms are left: {left}")

    def _state(self) -> str:
        """What there is, for a person."""
        lines = [f"machine: {sorted(self.machine.attempts)}"]
        for key, row in self.database.executions.items():
            nodes = [
                f"{node['node_id']}={node['phase']}/{node['attempt']}"
                for node in self.database.nodes_of[key]
                if node["ended_at"] is None
            ]
            phase = ExecutionPhase(row["phase"]).name
            lines.append(f"{row['name']} {phase} of term {self.database.shards[row['shard']]}: {nodes}")
        lines += [f"term {term}: {member}" for term, member in self.database.members.items()]
        return "\n".join(lines)

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Connections lead to the simulated server, and what is logged goes to the trace."""

        async def connect(_dsn: str, **_options: object) -> Any:
            return await self.server.connect(current_process())

        logging = structlog.get_config()
        structlog.configure(
            processors=[self._log], wrapper_class=structlog.BoundLogger, logger_factory=structlog.ReturnLoggerFactory()
        )
        try:
            with patch.object(asyncpg, "connect", connect):
                yield
        finally:
            structlog.configure(**logging)

    def _log(self, _logger: object, level: str, event: dict[str, Any]) -> str:
        if level in ("error", "exception", "critical"):
            self._fail(
                Violation(f"{current_process().name} logs an {level}, though nothing here may lead to one: {event}")
            )
        if self._trace is not None:
            event.pop("exc_info", None)
            text = event.pop("event")
            self.note(f"{current_process().name} {level}: {text} {event or ''}")
        return ""


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
