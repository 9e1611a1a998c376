"""What a worker has of attempts: those that wait for a slot, run, or have ended without their engine having kept that.

Called on the worker's event loop by the streams of engines (assign, abort, adopt, forget) and by children and timers
(started, output, ended). An attempt belongs to the engine that gave it its last token, and only that one hears of it.
Nothing survives the process: whoever kills a worker loses its attempts, and the engines count them as failures of the
system.
"""

import asyncio
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial

from wingbeat.worker.attempt import Attempt, Engine
from wingbeat.worker.child import Child, Job, give_back
from wingbeat.worker.children import Children
from wingbeat.worker.memory import session_rss_bytes
from wingbeat.worker.options import WorkerOptions
from wingbeat.worker.output import end_part, pass_on, stderr_tail
from wingbeat.worker.pace import LINES_PER_PROCESSOR, LONG_S, STALL_S, Pace
from wingbeat.worker.wingbeat_task_child.messages import Report
from wingbeat.worker.zygote import describe_status
from wingbeatidl.worker.v1 import worker_pb2

WAIT_S = 0.5
"""How long an attempt may wait for a slot: engines do not know of each other's tasks at once, and what one of them has
given too much may find room with another worker."""
TICK_S = 0.05
"""How often running tasks are looked at, so that those that are not over at once are announced."""
OLD_TICKS = 600
"""How many until ends that nobody has asked for are looked through."""
LOOK_TICKS = 5
"""How many of these until their output and their memory are looked at."""

_log = logging.getLogger(__name__)


class Attempts:
    """See the module."""

    def __init__(self, options: WorkerOptions, children: Children) -> None:
        self._options = options
        self._children = children
        self._known: dict[str, Attempt] = {}
        self._waiting: deque[Attempt] = deque()
        self._running: dict[str, Attempt] = {}
        self._in_line = 0
        """How many wait for their turn in a child."""
        self._stopping: set[Attempt] = set()
        """Aborted ones whose child still lives; they keep their slots."""
        self._pace = Pace(options.slots)
        self._lines = min(options.slots, LINES_PER_PROCESSOR * _processor_count())
        """In how many children of one code others line up."""
        self._line_watch: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def ahead(self) -> int:
        """How many attempts each engine may hand over beyond the slots; streams tell it with what they say next."""
        return self._pace.ahead

    def taken_elsewhere(self, engine: Engine) -> int:
        """Slots that tasks of other engines take."""
        others = sum(1 for attempt in self._running.values() if attempt.engine is not engine)
        return others + len(self._stopping)

    def held_by(self, engine: Engine | None) -> list[Attempt]:
        """All of one engine, or those that have none any more."""
        return [attempt for attempt in self._known.values() if attempt.engine is engine]

    # ---- what engines say ----

    def assign(
        self, engine: Engine, assignment: worker_pb2.Assignment, shared_env: Mapping[str, str] | None = None
    ) -> None:
        """Run it as soon as there is a slot; one that is known is reported again. `shared_env` is the environment of
        its code."""
        name = assignment.reference.name
        attempt = self._known.get(name)
        if attempt is not None:
            self.take_over(engine, assignment.reference)
            return
        if self._is_draining:
            engine.returned(assignment.reference)
            return
        attempt = Attempt(assignment, shared_env, engine)
        self._known[name] = attempt
        self._waiting.append(attempt)
        self._idle.clear()
        self.start_waiting()

    def take_over(self, engine: Engine, reference: worker_pb2.Reference) -> bool:
        """An attempt is this engine's from now on, by a new token; whether there is such an attempt."""
        attempt = self._known.get(reference.name)
        if attempt is None:
            return False
        attempt.engine = engine
        attempt.reference.token = reference.token
        self._repeat(attempt)
        return True

    def resume(self, engine: Engine) -> list[Attempt]:
        """What an engine is told at the beginning of a stream: its own attempts, and those that belong to nobody."""
        return [attempt for attempt in self._known.values() if attempt.engine is engine or attempt.engine is None]

    def repeat_reports(self, engine: Engine) -> None:
        """A stream was broken: what was said last may not have arrived."""
        for attempt in self.held_by(engine):
            self._repeat(attempt)

    def abort(self, reference: worker_pb2.Reference, *, engine: Engine | None = None) -> None:
        """Stop an attempt and everything it has started; nothing is said of it any more."""
        attempt = self._known.get(reference.name)
        if attempt is None or (reference.token and attempt.reference.token != reference.token):
            return
        if engine is not None and attempt.engine not in (engine, None):
            return
        del self._known[reference.name]
        self._end_process(attempt)

    def forget(self, name: str, engine: Engine) -> None:
        """The engine has kept how the attempt ended."""
        attempt = self._known.get(name)
        if attempt is not None and attempt.engine is engine and attempt.report is not None:
            del self._known[name]

    def orphan(self, engine: Engine) -> None:
        """The engine is gone for good. Another one may take its attempts up."""
        orphans = self.held_by(engine)
        for attempt in orphans:
            attempt.engine = None
        if orphans:
            names = [(attempt.name, attempt.reference.token) for attempt in orphans]
            asyncio.get_running_loop().call_later(self._options.orphan_s, self._give_up, names)

    def _give_up(self, names: Sequence[tuple[str, int]]) -> None:
        for name, token in names:
            attempt = self._known.get(name)
            if attempt is not None and attempt.engine is None and attempt.reference.token == token:
                _log.warning("attempt %s is ended: its engine is gone and no other one asked for it", name)
                self.abort(worker_pb2.Reference(name=name, token=token))

    # ---- running ----

    def start_waiting(self) -> None:
        """Begin as many as there are slots, and have quick ones line up for them."""
        zygote = self._children.zygote
        while self._waiting and zygote.is_ready:
            attempt = self._waiting[0]
            if self._known.get(attempt.name) is not attempt:
                self._waiting.popleft()
                continue
            if self._pace.line > 1 and (child := self._shortest_line(attempt.assignment.code)) is not None:
                if len(child.line) >= self._pace.line:
                    return
                if self._line_up(attempt, child):
                    self._waiting.popleft()
                    continue
            if len(self._running) + len(self._stopping) >= self._options.slots:
                return
            self._waiting.popleft()
            self._begin(attempt)

    def _shortest_line(self, code: str) -> Child | None:
        """Of the children that others of this code may line up in; None while there should be more of them."""
        after = asyncio.get_running_loop().time() - STALL_S
        lines = [child for child in self._children.busy(code) if child.began_at > after][: self._lines]
        return min(lines, key=_line_length) if len(lines) == self._lines else None

    def _line_up(self, attempt: Attempt, child: Child) -> bool:
        if self._is_draining or not self._children.can_line_up(child):
            return False
        if not child.line_up(self._job(attempt, child)):
            return False
        attempt.child = child
        self._in_line += 1
        if self._line_watch is None:
            self._line_watch = asyncio.get_running_loop().call_later(STALL_S, self._watch_lines)
        return True

    def _watch_lines(self) -> None:
        """Let nothing stand in line behind a task that is not over soon."""
        loop = asyncio.get_running_loop()
        before = loop.time() - STALL_S
        for child in self._children.with_lines():
            child.hear_out()
            if child.began_at <= before:
                give_back(child.take_back())
        again = self._in_line > 0
        self._line_watch = loop.call_later(STALL_S, self._watch_lines) if again else None

    def _job(self, attempt: Attempt, child: Child) -> Job:
        assignment = attempt.assignment
        return Job(
            task={
                "argv": list(assignment.argv),
                "env": dict(assignment.env),
                "inputs": assignment.inputs if assignment.HasField("inputs") else None,
                "cpus": _processors(assignment.cpu_limit, child.number),
            },
            on_begin=partial(self._on_begin, attempt),
            on_report=partial(self._on_report, attempt),
            on_end=partial(self._on_end, attempt),
            on_return=partial(self._on_return, attempt),
        )

    def _begin(self, attempt: Attempt) -> None:
        assignment = attempt.assignment
        shared_env = dict(assignment.env) if attempt.shared_env is None else attempt.shared_env
        try:
            child = self._children.take(assignment.code, shared_env)
        except OSError as error:
            self._conclude(attempt, _exit(worker_pb2.Exit.REASON_SETUP_FAILED, detail=str(error)))
            return
        attempt.child = child
        self._in_line += 1
        child.run(self._job(attempt, child))

    def _on_return(self, attempt: Attempt) -> None:
        """Its turn will not come where it stands in line, or came and its process ended before it knew."""
        if attempt.stopped is not None:
            self._conclude(attempt, attempt.stopped)
            return
        if attempt.is_running:
            self._no_longer_running(attempt)
        else:
            self._in_line -= 1
        attempt.child = None
        self._waiting.appendleft(attempt)
        asyncio.get_running_loop().call_soon(self.start_waiting)

    def _on_begin(self, attempt: Attempt) -> None:
        self._in_line -= 1
        attempt.is_running = True
        attempt.started_at = time.time()
        self._running[attempt.name] = attempt
        assignment = attempt.assignment
        if assignment.timeout_s:
            detail = f"{assignment.timeout_s:g}"
            timeout = _exit(worker_pb2.Exit.REASON_TIMEOUT, detail=detail)
            attempt.timer = asyncio.get_running_loop().call_later(assignment.timeout_s, self._stop, attempt, timeout)
        self._others_changed(attempt)

    def _on_report(self, attempt: Attempt, report: Report) -> None:
        child = attempt.child
        assert child is not None, "only a child reports"
        pass_on(attempt, child, self._options.log_bytes_max, last=True, report=report)
        ended = worker_pb2.Ended(
            reference=attempt.reference, started_at=report["started_at"], ended_at=report["ended_at"]
        )
        if report["code"]:
            ended.exit.MergeFrom(
                _exit(
                    worker_pb2.Exit.REASON_EXITED,
                    code=report["code"],
                    stderr_tail=stderr_tail(child, report),
                )
            )
        elif report["outputs"] is not None:
            ended.outputs = report["outputs"]
        elif report["error"] is not None:
            ended.error_document = report["error"]
        else:
            ended.files = True
        end_part(child, report)
        self._pace.learn(report["ended_at"] - report["started_at"], report["cpu_s"], report["waits"])
        self._children.give_back(child, report)
        self._finish(attempt, ended)

    def _on_end(self, attempt: Attempt, status: int) -> None:
        """Its child has ended under it, by itself or because we have killed it."""
        child = attempt.child
        assert child is not None, "only a child ends"
        code, number = describe_status(status)
        end = attempt.stopped
        if end is None:
            end = _exit(worker_pb2.Exit.REASON_EXITED, code=code, signal=number)
        end.stderr_tail = stderr_tail(child)
        pass_on(attempt, child, self._options.log_bytes_max, last=True)
        self._conclude(attempt, end)

    def _conclude(self, attempt: Attempt, end: worker_pb2.Exit) -> None:
        now = time.time()
        ended = worker_pb2.Ended(
            reference=attempt.reference, started_at=attempt.started_at or now, ended_at=now, exit=end
        )
        self._finish(attempt, ended)

    def _finish(self, attempt: Attempt, ended: worker_pb2.Ended) -> None:
        self._no_longer_running(attempt)
        attempt.child = None
        name = attempt.name
        self._stopping.discard(attempt)
        if self._known.get(name) is attempt:
            attempt.report = ended
            if attempt.engine is not None:
                attempt.engine.ended(ended)
        self._others_changed(attempt)
        self.start_waiting()
        self._look_whether_idle()

    def _no_longer_running(self, attempt: Attempt) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None
        attempt.is_running = False
        if self._running.get(attempt.name) is attempt:
            del self._running[attempt.name]

    def _look_whether_idle(self) -> None:
        if not self._running and not self._waiting and not self._stopping:
            self._idle.set()

    def _repeat(self, attempt: Attempt) -> None:
        if attempt.engine is None:
            return
        if attempt.report is not None:
            attempt.report.reference.CopyFrom(attempt.reference)
            attempt.engine.ended(attempt.report)
        elif attempt.is_running:
            attempt.engine.started(worker_pb2.Started(reference=attempt.reference, at=attempt.started_at))

    def _others_changed(self, attempt: Attempt) -> None:
        if attempt.engine is not None:
            attempt.engine.slots_changed()

    # ---- stopping ----

    def _stop(self, attempt: Attempt, why: worker_pb2.Exit) -> None:
        """End it; its end is reported."""
        self._break_line_of(attempt)
        if attempt.is_running and attempt.stopped is None:
            attempt.stopped = why
            self._kill(attempt)

    def _end_process(self, attempt: Attempt) -> None:
        self._break_line_of(attempt)
        name = attempt.name
        if self._running.get(name) is attempt:
            del self._running[name]
            self._stopping.add(attempt)
            attempt.stopped = attempt.stopped or _exit(worker_pb2.Exit.REASON_STOPPED)
            self._kill(attempt)
        elif attempt in self._waiting:
            self._waiting.remove(attempt)
            self._look_whether_idle()

    @staticmethod
    def _break_line_of(attempt: Attempt) -> None:
        """Afterwards it is certain whether it waits, runs or has ended, and nothing stands in line behind it."""
        child = attempt.child
        if child is not None and len(child.line) > 1:
            give_back(child.take_back())
            child.hear_out()

    def _kill(self, attempt: Attempt) -> None:
        child = attempt.child
        if child is None:
            return
        child.signal(signal.SIGTERM)
        grace = self._options.kill_grace_s
        asyncio.get_running_loop().call_later(grace, self._kill_for_good, attempt, child)

    @staticmethod
    def _kill_for_good(attempt: Attempt, child: Child) -> None:
        if attempt.child is child:
            child.signal(signal.SIGKILL)

    async def drain(self) -> None:
        """Give back what has not begun, and wait for the rest; whoever cancels this ends it."""
        self._is_draining = True
        for child in self._children.with_lines():
            give_back(child.take_back())
        while self._waiting:
            attempt = self._waiting.popleft()
            if self._known.pop(attempt.name, None) is attempt and attempt.engine is not None:
                attempt.engine.returned(attempt.reference)
        self._look_whether_idle()
        await self._idle.wait()

    def stop_all(self) -> None:
        """The worker's time is over."""
        for attempt in list(self._running.values()):
            self._stop(attempt, _exit(worker_pb2.Exit.REASON_STOPPED))

    @property
    def has_waiting(self) -> bool:
        """Whether attempts wait for their turn."""
        return bool(self._waiting) or self._in_line > 0

    async def wait_for_ends(self) -> None:
        """Until no process of a task lives."""
        await self._idle.wait()

    # ---- what is looked at again and again ----

    async def watch(self) -> None:
        """Announce tasks that run for a while, pass their output on, keep them to their memory. Until cancelled."""
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            self._drop_old(tick)
            self._return_waiting()
            for attempt in self._running.values():
                if not attempt.announced and attempt.engine is not None:
                    attempt.announced = True
                    attempt.engine.started(worker_pb2.Started(reference=attempt.reference, at=attempt.started_at))
            if not self._running or tick % LOOK_TICKS:
                continue
            rss: dict[int, int] | None = (
                {} if all(not one.assignment.memory_limit_bytes for one in self._running.values()) else None
            )
            if rss is None:
                rss = await asyncio.to_thread(session_rss_bytes)
            for attempt in list(self._running.values()):
                self._look_at(attempt, rss)

    def _return_waiting(self) -> None:
        """Give back what waits behind tasks that are not over soon; the worker's own start is waited for. What engines
        have handed over ahead comes back at the first sign of a long task, what they believe to have slots later."""
        before = time.time() - LONG_S
        if any(attempt.started_at < before for attempt in self._running.values()):
            self._pace.slow_down()
            surplus = len(self._waiting) - (self._options.slots - len(self._running))
        else:
            surplus = 0
        if not self._waiting or not self._children.zygote.is_ready:
            return
        came_before = asyncio.get_running_loop().time() - WAIT_S
        kept = len(self._waiting) - surplus
        waiting = [one for place, one in enumerate(self._waiting) if place >= kept or one.came_at < came_before]
        for attempt in waiting:
            if attempt.engine is None:
                continue
            self._waiting.remove(attempt)
            if self._known.get(attempt.name) is attempt:
                del self._known[attempt.name]
                attempt.engine.returned(attempt.reference)

    def _drop_old(self, tick: int) -> None:
        """Ends that no engine has asked for in all that time are of attempts that nobody knows any more."""
        if tick % OLD_TICKS:
            return
        before = time.time() - self._options.ended_s
        old = [name for name, one in self._known.items() if one.report is not None and one.report.ended_at < before]
        for name in old:
            del self._known[name]

    def _look_at(self, attempt: Attempt, rss: dict[int, int]) -> None:
        child = attempt.child
        if child is None:
            return
        if len(child.line) < 2:  # else it may be at the next one already, and this one's output comes with its report
            pass_on(attempt, child, self._options.log_bytes_max, last=False)
        limit = attempt.assignment.memory_limit_bytes
        used = rss.get(child.pid, 0)
        if limit and used > limit and attempt.stopped is None:
            attempt.stopped = _exit(worker_pb2.Exit.REASON_OUT_OF_MEMORY, detail=f"{used}/{limit}")
            child.signal(signal.SIGKILL)


def _exit(
    reason: "worker_pb2.Exit.Reason", *, code: int = 0, signal: int = 0, detail: str = "", stderr_tail: str = ""
) -> worker_pb2.Exit:
    return worker_pb2.Exit(reason=reason, code=code, signal=signal, detail=detail, stderr_tail=stderr_tail)


def _line_length(child: Child) -> int:
    return len(child.line)


def _processor_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processors(limit: float, number: int) -> tuple[int, ...]:
    """Processors for a task that may use so many; children next to each other get others."""
    if not limit or not hasattr(os, "sched_getaffinity"):
        return ()
    usable = sorted(os.sched_getaffinity(0))
    count = max(1, int(limit) + (limit % 1 > 0))
    if count >= len(usable):
        return ()
    return tuple(usable[(number + index) % len(usable)] for index in range(count))
