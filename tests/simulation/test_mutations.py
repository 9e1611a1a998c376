"""The simulation finds what it is there to find: the engine is broken on purpose, in one place at a time, and some seed
among the first few hundred shows it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.faults import FaultPlan
from tests.simulation.world import World
from wingbeat_propeller.core import recovery
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.kinds import task
from wingbeat_propeller.core.kinds.branch import BranchKind
from wingbeat_propeller.core.retry import decide_retry
from wingbeat_propeller.core.state import Frame
from wingbeat_propeller.core.walk import Walk
from wingbeat_propeller.engine import cache_keeper, child_keeper, reservation_keeper
from wingbeat_propeller.engine.dispatch.event_judge import EventJudge
from wingbeat_propeller.engine.driver import Driver
from wingbeat_propeller.engine.intake import Intake
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.reservation_keeper import ReservationKeeper
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.engine.sweeper import Sweeper
from wingbeat_propeller.engine.timer_wheel import TimerWheel
from wingbeat_propeller.ports.cache import CacheAsk
from wingbeat_propeller.ports.runtime import RuntimeEvent
from wingbeat_propeller.postgres import journal_lane

SEEDS_MAX = 600

Patch = pytest.MonkeyPatch


def found(*, plan: FaultPlan | None = None) -> None:
    """Some world must break a promise; as the same worlds keep all of them with the engine whole (test_seeds.py), that
    is the mutation's doing. `plan`: what goes wrong in all of them."""
    for seed in range(SEEDS_MAX):
        try:
            World(seed, plan=plan).run()
        except AssertionError:
            return
    raise AssertionError(f"none of {SEEDS_MAX} worlds noticed")


def test_commands_that_leave_before_the_commit(monkeypatch: Patch) -> None:
    """An attempt is launched whose row is not durable."""
    perform = Driver.perform

    def hasty(self: Driver, live: LiveExecution, effects: Effects) -> None:
        self._command(live, effects)
        perform(self, live, effects)

    monkeypatch.setattr(Driver, "perform", hasty)
    found()


def test_failures_of_the_system_that_are_not_counted(monkeypatch: Patch) -> None:
    """A node makes more attempts than the installation grants."""

    def forgetful(failure: Any, *, system_failures: int, **rest: Any) -> Any:
        return decide_retry(failure, system_failures=min(system_failures, 1), **rest)

    monkeypatch.setattr(task, "decide_retry", forgetful)
    found()


def test_user_failures_that_consume_the_systems_budget(monkeypatch: Patch) -> None:
    """A node gives up too early or too late."""

    def confused(failure: Any, *, attempt: int, system_failures: int, **rest: Any) -> Any:
        return decide_retry(failure, attempt=attempt + system_failures, system_failures=system_failures, **rest)

    monkeypatch.setattr(task, "decide_retry", confused)
    found()


def test_a_fence_that_is_not_looked_at(monkeypatch: Patch) -> None:
    """An engine writes after it has lost its lease."""
    commit = journal_lane._SQL["commit"]
    fenced = "EXISTS (SELECT FROM fence)"
    body, select = commit.rsplit("SELECT", 2)[0], commit[len(commit.rsplit("SELECT", 2)[0]) :]
    unfenced = body.replace(f" AND {fenced}", "").replace(f" WHERE {fenced}", "") + select
    assert unfenced.count(fenced) < commit.count(fenced)
    monkeypatch.setitem(journal_lane._SQL, "commit", unfenced)
    found()


def test_a_batch_that_is_written_twice(monkeypatch: Patch) -> None:
    """The log tells of progress twice when an answer is lost."""
    commit = journal_lane._SQL["commit"]
    monkeypatch.setitem(journal_lane._SQL, "commit", commit.replace(" AND batch < $3", ""))
    assert journal_lane._SQL["commit"] != commit
    found()


def test_an_end_that_is_told_twice(monkeypatch: Patch) -> None:
    """A doubled event advances what follows twice."""
    find, on_event = Walk.find, EventJudge._on_event
    ends: dict[Any, Any] = {}
    attempts: dict[str, Any] = {}

    def remembering(self: Walk, ref: Any, **options: Any) -> Any:
        place = (self.state.key, id(self.state), ref)
        ends[place] = find(self, ref, **options) or ends.get(place)
        return ends[place]

    def gullible(self: EventJudge, tasks: Any, event: RuntimeEvent) -> None:
        attempts.setdefault(event.name, self._room.under_way.get(event.name))
        if attempts[event.name] is not None and event.name not in self._room.under_way:
            self._room.under_way[event.name] = attempts[event.name]
        on_event(self, tasks, event)

    monkeypatch.setattr(Walk, "find", remembering)
    monkeypatch.setattr(EventJudge, "_on_event", gullible)
    found()


def _recovering(monkeypatch: Patch, change: Callable[[Frame], None]) -> None:
    restore = recovery._restore_counts

    def forgetful(frame: Frame) -> None:
        restore(frame)
        change(frame)

    monkeypatch.setattr(recovery, "_restore_counts", forgetful)


def test_a_recovery_that_forgets_failures(monkeypatch: Patch) -> None:
    """A node runs although what it needs has failed."""
    _recovering(monkeypatch, lambda frame: frame.tainted.clear())
    found()


def test_a_recovery_that_forgets_what_is_done(monkeypatch: Patch) -> None:
    """A node waits without end for what has ended before the crash."""

    def forget(frame: Frame) -> None:
        frame.pending = list(frame.plan.indegree)

    _recovering(monkeypatch, forget)
    found()


def test_a_recovery_that_lets_outputs_go(monkeypatch: Patch) -> None:
    """A node does not find what it reads."""
    _recovering(monkeypatch, lambda frame: frame.outputs.clear())
    found()


def test_a_timer_of_an_earlier_attempt(monkeypatch: Patch) -> None:
    """The deadline of an attempt that is over ends the next one."""
    find = Walk.find
    monkeypatch.setattr(Walk, "find", lambda self, ref, **_: find(self, ref, any_attempt=True))
    found()


def test_shards_that_are_let_go_of_too_early(monkeypatch: Patch) -> None:
    """Two engines drive one execution."""

    async def careless(self: Intake, shards: frozenset[int]) -> None:
        self._shards -= shards

    monkeypatch.setattr(Intake, "released", careless)
    found()


def test_children_that_are_given_up_with_their_shard(monkeypatch: Patch) -> None:
    """A child is terminated because its node has moved to another engine."""

    class Orphan(child_keeper._Child):
        aborted = property(lambda _self: True, lambda _self, _value: None)  # type: ignore[assignment]

    monkeypatch.setattr(child_keeper, "_Child", Orphan)
    found(plan=FaultPlan(until_s=8.0, kills=4, stops=8))


def test_a_branch_that_forgets_its_decision(monkeypatch: Patch) -> None:
    """After a crash the arm that was taken is not known."""
    monkeypatch.setattr(BranchKind, "restore", lambda self, walk, frame, run, node, row: frame)
    found()


def test_a_slot_that_is_not_offered(monkeypatch: Patch) -> None:
    """Nodes that wait for max_parallelism wait without end."""
    monkeypatch.setattr(Walk, "offer_slot", lambda self: None)
    found()


def test_a_limit_that_is_not_kept(monkeypatch: Patch) -> None:
    """More nodes are active than max_parallelism."""
    release = Walk.release

    def generous(self: Walk, run: Any) -> None:
        release(self, run)
        self.state.active = 0

    monkeypatch.setattr(Walk, "release", generous)
    found()


def test_attempts_that_nobody_sweeps(monkeypatch: Patch) -> None:
    """An attempt outlives its execution when its engine dies before it has told the machine."""

    async def lazy(self: Sweeper) -> None:
        return

    monkeypatch.setattr(Sweeper, "sweep", lazy)
    found()


def test_timers_that_are_not_cancelled(monkeypatch: Patch) -> None:
    """Deadlines of ended executions stay in memory."""
    monkeypatch.setattr(TimerWheel, "cancel", lambda self, key: False)
    found()


def test_attempts_that_ask_for_no_slot(monkeypatch: Patch) -> None:
    """An attempt of a limited tenant runs uncounted."""
    monkeypatch.setattr(SlotKeeper, "may_start", lambda self, tenant, ask: True)
    found()


def test_slots_that_the_next_owner_does_not_find(monkeypatch: Patch) -> None:
    """What was taken over ends, and its slot stays."""

    async def blind(self: SlotKeeper, executions: Any) -> None:
        for execution in executions:
            self.forget(execution)

    monkeypatch.setattr(SlotKeeper, "look_up", blind)
    found()


def test_calls_that_are_told_apart_by_their_task_alone(monkeypatch: Patch) -> None:
    """A hit with what was made of other inputs."""

    async def blind(_blobs: Any, call: Any) -> CacheAsk:
        return CacheAsk(call.task, b"")

    monkeypatch.setattr(cache_keeper, "ask_of", blind)
    monkeypatch.setattr(reservation_keeper, "ask_of", blind)
    found()


def test_a_reservation_that_is_not_waited_for(monkeypatch: Patch) -> None:
    """A call is made while another makes it."""

    def careless(_self: ReservationKeeper, _key: Any, claim: Any, _found: Any) -> bool:
        return not claim.is_held

    monkeypatch.setattr(ReservationKeeper, "_settle", careless)
    found()
