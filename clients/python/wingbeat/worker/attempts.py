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
from typing import Protocol

from wingbeat.worker.children import Child, Children
from wingbeat.worker.logs import cut, read_new, tail
from wingbeat.worker.memory import session_rss_bytes
from wingbeat.worker.options import WorkerOptions
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

AHEAD_PER_SLOT_MAX = 16
AHEAD_S = 0.1
"""Attempts may wait here for so much work of each slot, so that none idles until an engine hears of it, ..."""
QUICK_S = 0.05
"""... while tasks take no longer than this on average."""
LONG_S = 0.1
"""Nothing shall wait here behind a task that takes longer."""
_MEMORY = 8
"""The average is of about as many tasks."""

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Whom an attempt belongs to."""

    def started(self, report: worker_pb2.Started) -> None: ...
    def ended(self, report: worker_pb2.Ended) -> None: ...
    def output(self, chunk: worker_pb2.LogChunk) -> None: ...
    def returned(self, reference: worker_pb2.Reference) -> None: ...
    def slots_changed(self) -> None: ...


class Attempt:
    """One attempt."""

    def __init__(
        self, assignment: worker_pb2.Assignment, shared_env: Mapping[str, str] | None, engine: Engine | None
    ) -> None:
        self.assignment = assignment
        self.shared_env = shared_env
        """Environment of its code; None: the assignment has all of it."""
        self.reference = assignment.reference
        """As its engine knows it."""
        self.engine = engine
        self.child: Child | None = None
        self.came_at = asyncio.get_running_loop().time()
        self.started_at = 0.0
        self.announced = False
        self.report: worker_pb2.Ended | None = None
        """Set once it has ended."""
        self.stopped: worker_pb2.Exit | None = None
        """Why we are ending it."""
        self.timer: asyncio.TimerHandle | None = None
        self.logged = {"stdout": 0, "stderr": 0}
        self.name = assignment.reference.name


class Attempts:
    """See the module."""

    def __init__(self, options: WorkerOptions, children: Children) -> None:
        self._options = options
        self._children = children
        self._known: dict[str, Attempt] = {}
        self._waiting: deque[Attempt] = deque()
        self._running: dict[str, Attempt] = {}
        self._stopping: set[Attempt] = set()
        """Aborted ones whose child still lives; they keep their slots."""
        self.ahead = 0
        """How many attempts each engine may hand over beyond the slots; streams tell it with what they say next."""
        self._usual_s = LONG_S
        """How long tasks took on average; begins anew after a long one."""
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._known)

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
        """Begin as many as there are slots."""
        zygote = self._children.zygote
        while self._waiting and zygote.is_ready:
            if len(self._running) + len(self._stopping) >= self._options.slots:
                return
            attempt = self._waiting.popleft()
            if self._known.get(attempt.name) is attempt:
                self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        assignment = attempt.assignment
        env = dict(assignment.env)
        try:
            child = self._children.take(assignment.code, env if attempt.shared_env is None else attempt.shared_env)
        except OSError as error:
            self._conclude(attempt, _exit(worker_pb2.Exit.REASON_SETUP_FAILED, detail=str(error)))
            return
        attempt.child = child
        attempt.started_at = time.time()
        self._running[attempt.name] = attempt
        child.on_report = lambda report: self._on_report(attempt, report)
        child.on_end = lambda status: self._on_end(attempt, status)
        child.run(
            {
                "argv": list(assignment.argv),
                "env": env,
                "inputs": assignment.inputs if assignment.HasField("inputs") else None,
                "cpus": _processors(assignment.cpu_limit, child.number),
            }
        )
        if assignment.timeout_s:
            detail = f"{assignment.timeout_s:g}"
            timeout = _exit(worker_pb2.Exit.REASON_TIMEOUT, detail=detail)
            attempt.timer = asyncio.get_running_loop().call_later(assignment.timeout_s, self._stop, attempt, timeout)
        self._others_changed(attempt)

    def _on_report(self, attempt: Attempt, report: Report) -> None:
        child = attempt.child
        assert child is not None, "only a child reports"
        if attempt.stopped is not None:
            return  # the child is being killed, and its end counts
        self._send_output(attempt, {"stdout": report["stdout_bytes"], "stderr": report["stderr_bytes"]}, last=True)
        ended = worker_pb2.Ended(
            reference=attempt.reference, started_at=report["started_at"], ended_at=report["ended_at"]
        )
        if report["code"]:
            ended.exit.MergeFrom(
                _exit(worker_pb2.Exit.REASON_EXITED, code=report["code"], stderr_tail=tail(child.folder / "stderr"))
            )
        elif report["outputs"] is not None:
            ended.outputs = report["outputs"]
        elif report["error"] is not None:
            ended.error_document = report["error"]
        else:
            ended.files = True
        self._cut_streams(child, report)
        self._learn(report["ended_at"] - report["started_at"])
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
        end.stderr_tail = tail(child.folder / "stderr")
        self._send_output(attempt, None, last=True)
        self._conclude(attempt, end)

    def _conclude(self, attempt: Attempt, end: worker_pb2.Exit) -> None:
        now = time.time()
        ended = worker_pb2.Ended(
            reference=attempt.reference, started_at=attempt.started_at or now, ended_at=now, exit=end
        )
        self._finish(attempt, ended)

    def _finish(self, attempt: Attempt, ended: worker_pb2.Ended) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None
        attempt.child = None
        name = attempt.name
        if self._running.get(name) is attempt:
            del self._running[name]
        self._stopping.discard(attempt)
        if self._known.get(name) is attempt:
            attempt.report = ended
            if attempt.engine is not None:
                attempt.engine.ended(ended)
        self._others_changed(attempt)
        self.start_waiting()
        self._look_whether_idle()

    def _learn(self, took_s: float) -> None:
        """From how long a task took."""
        if took_s > LONG_S:
            self._take_nothing_ahead()
            return
        self._usual_s += (took_s - self._usual_s) / _MEMORY
        if self._usual_s <= QUICK_S:
            per_slot = AHEAD_S / max(self._usual_s, AHEAD_S / AHEAD_PER_SLOT_MAX)
            self.ahead = int(per_slot * self._options.slots)
        else:
            self.ahead = 0

    def _take_nothing_ahead(self) -> None:
        self._usual_s = LONG_S
        self.ahead = 0

    def _look_whether_idle(self) -> None:
        if not self._running and not self._waiting and not self._stopping:
            self._idle.set()

    def _repeat(self, attempt: Attempt) -> None:
        if attempt.engine is None:
            return
        if attempt.report is not None:
            attempt.report.reference.CopyFrom(attempt.reference)
            attempt.engine.ended(attempt.report)
        elif attempt.child is not None:
            attempt.engine.started(worker_pb2.Started(reference=attempt.reference, at=attempt.started_at))

    def _others_changed(self, attempt: Attempt) -> None:
        if attempt.engine is not None:
            attempt.engine.slots_changed()

    # ---- stopping ----

    def _stop(self, attempt: Attempt, why: worker_pb2.Exit) -> None:
        """End it; its end is reported."""
        if attempt.child is not None and attempt.stopped is None:
            attempt.stopped = why
            self._kill(attempt)

    def _end_process(self, attempt: Attempt) -> None:
        name = attempt.name
        if self._running.get(name) is attempt:
            del self._running[name]
            self._stopping.add(attempt)
            attempt.stopped = attempt.stopped or _exit(worker_pb2.Exit.REASON_STOPPED)
            self._kill(attempt)
        elif attempt in self._waiting:
            self._waiting.remove(attempt)
            self._look_whether_idle()

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
        """Whether attempts wait for a slot."""
        return bool(self._waiting)

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
            self._take_nothing_ahead()
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
        self._send_output(attempt, None, last=False)
        limit = attempt.assignment.memory_limit_bytes
        used = rss.get(child.pid, 0)
        if limit and used > limit and attempt.stopped is None:
            attempt.stopped = _exit(worker_pb2.Exit.REASON_OUT_OF_MEMORY, detail=f"{used}/{limit}")
            child.signal(signal.SIGKILL)

    def _send_output(self, attempt: Attempt, sizes: dict[str, int] | None, *, last: bool) -> None:
        """Pass on what the task has written; `sizes` spares looking at the files."""
        child = attempt.child
        if child is None:
            return
        for stream in ("stdout", "stderr"):
            if sizes is not None and sizes[stream] <= child.sent[stream]:
                continue
            for content in read_new(child.folder / stream, child.sent, stream, whole=last):
                room = self._options.log_bytes_max - attempt.logged[stream]
                if room <= 0:
                    break  # the file may be of any size
                attempt.logged[stream] += len(content)
                if attempt.engine is not None:
                    attempt.engine.output(
                        worker_pb2.LogChunk(
                            reference=attempt.reference, stderr=stream == "stderr", content=content[:room]
                        )
                    )

    @staticmethod
    def _cut_streams(child: Child, report: Report) -> None:
        for stream in ("stdout", "stderr"):
            if child.sent[stream]:
                cut(child.folder / stream)
                child.sent[stream] = 0


def _exit(
    reason: "worker_pb2.Exit.Reason", *, code: int = 0, signal: int = 0, detail: str = "", stderr_tail: str = ""
) -> worker_pb2.Exit:
    return worker_pb2.Exit(reason=reason, code=code, signal=signal, detail=detail, stderr_tail=stderr_tail)


def _processors(limit: float, number: int) -> tuple[int, ...]:
    """Processors for a task that may use so many; children next to each other get others."""
    if not limit or not hasattr(os, "sched_getaffinity"):
        return ()
    usable = sorted(os.sched_getaffinity(0))
    count = max(1, int(limit) + (limit % 1 > 0))
    if count >= len(usable):
        return ()
    return tuple(usable[(number + index) % len(usable)] for index in range(count))
