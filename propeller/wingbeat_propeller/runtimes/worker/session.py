"""One worker as an engine sees it: what it announced, its slots, and the stream to it while there is one.

A stream may break and begin again; the session, and with it what the worker has been given, lasts until nothing was
heard for the time of a lease. What is to be said gathers until the stream takes it, in messages of bounded size; a
worker that asks for ever more and reads none of it loses its stream.
"""

import asyncio
from collections import deque
from contextlib import suppress

from wingbeat_propeller.runtimes.worker.assignments import Handover
from wingbeat_propeller.runtimes.worker.needs import Announcement
from wingbeatidl.worker.v1 import worker_pb2

MESSAGE_BYTES_MAX = 8 << 20
"""Of attempts in one message, but for a single one; a worker takes 64 MiB."""
GATHER_S = 0.002
"""Least time between two messages to a worker with tasks at hand: a message costs as much as several tasks in it."""
UNSAID_MAX = 100_000
"""Names in what a stream has not taken."""


class Session:
    """See the module. Times are of the loop's clock."""

    def __init__(self, hello: worker_pb2.Hello, slots: int, now: float) -> None:
        self.worker_id = hello.worker_id
        self.name = hello.name
        self.slots = slots
        self.announcement = announcement_of(hello)
        self.elsewhere = 0
        """Slots that tasks of other engines take."""
        self.ahead = 0
        """Attempts that it takes beyond its slots, to begin as soon as one is free."""
        self.draining = False
        self.rests_until = 0.0
        """Until then it is given nothing; 0: it has never given anything back."""
        self.heard_at = now
        self.names: set[str] = set()
        """Attempts that have room here, given to the worker or about to be."""
        self.stream = 0
        """Number of the stream that is the worker's now; 0: it has none."""
        self.asked: set[str] = set()
        """Attempts that the worker was asked about and has not answered for."""
        self.answered = asyncio.Event()
        self._knows_codes = hello.knows_codes
        self._next = worker_pb2.WorkResponse()
        self._assign: deque[Handover] = deque()
        self._unsaid = 0
        self._said_at = 0.0
        self._more = asyncio.Event()

    @property
    def free(self) -> int:
        """Slots that nothing has; below 0 when attempts wait there."""
        return self.slots - self.elsewhere - len(self.names)

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more attempt."""
        return not self.draining and self.stream != 0 and self.free + self.ahead > 0

    def assign(self, handover: Handover) -> None:
        """Have it run an attempt."""
        if self._may_say():
            self._assign.append(handover)

    def abort(self, reference: worker_pb2.Reference) -> None:
        """Have it stop an attempt."""
        if self._may_say():
            self._next.abort.append(reference)

    def forget(self, name: str) -> None:
        """The end of an attempt is kept. That is said with the next message: nothing waits for it."""
        if self._may_say(is_urgent=False):
            self._next.forget.append(name)

    def adopt(self, reference: worker_pb2.Reference) -> None:
        """Ask whether it has an attempt."""
        if self._may_say():
            self.asked.add(reference.name)
            self.answered.clear()
            self._next.adopt.append(reference)

    def answer(self, name: str) -> None:
        """It has said whether it has an attempt."""
        self.asked.discard(name)
        if not self.asked:
            self.answered.set()

    def restart(self) -> None:
        """A new stream begins: nothing is left to be said from before."""
        self._forget_unsaid()
        self._more.clear()
        self.ahead = 0
        self.asked.clear()
        self.answered.set()

    def wake(self) -> None:
        """Have whoever waits for something to say look again."""
        self._more.set()

    async def next_message(self, stream: int, timeout_s: float) -> worker_pb2.WorkResponse | None:
        """What is to be said on a stream, empty when there was nothing for so long; None when it is not the worker's
        any more, and then nothing is taken from the one that is."""
        if not self._more.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._more.wait()
        loop = asyncio.get_running_loop()
        if self.free < 0 and (wait_s := self._said_at + GATHER_S - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        if self.stream != stream:
            return None
        self._said_at = loop.time()
        message, self._next = self._next, worker_pb2.WorkResponse()
        self._add_assignments(message)
        self._unsaid = len(self._assign)
        if not self._assign:
            self._more.clear()
        return message

    def _add_assignments(self, message: worker_pb2.WorkResponse) -> None:
        """As many as a message may carry."""
        size = 0
        codes: set[str] = set()
        while self._assign:
            assignment, code = self._assign[0]
            is_new = code.key not in codes
            more = len(assignment) + (code.ByteSize() if is_new else 0)
            if size and size + more > MESSAGE_BYTES_MAX:
                return
            size += more
            self._assign.popleft()
            message.MergeFromString(assignment)
            if not self._knows_codes:
                env = message.assign[-1].env
                env.update({**code.env, **env})
            elif is_new:
                codes.add(code.key)
                message.codes.append(code)

    def _may_say(self, *, is_urgent: bool = True) -> bool:
        """Whether one more thing can be said. Without a stream nothing is kept: the next one begins anew."""
        if not self.stream:
            return False
        self._unsaid += 1
        if is_urgent:
            self._more.set()
        if self._unsaid <= UNSAID_MAX:
            return True
        self.stream = 0
        self._forget_unsaid()
        self.answered.set()
        return False

    def _forget_unsaid(self) -> None:
        self._next = worker_pb2.WorkResponse()
        self._assign.clear()
        self._unsaid = 0


def announcement_of(hello: worker_pb2.Hello) -> Announcement:
    """What a worker can run, as it says."""
    return Announcement(
        images=frozenset(hello.images),
        task_types=frozenset(hello.task_types),
        labels=dict(hello.labels),
        cpus=hello.cpus,
        memory_bytes=float(hello.memory_bytes),
    )
