"""The conversation with one engine: one stream at a time, begun again whenever it breaks, until the engine is gone.

What is to be said gathers while the message before is on its way, so a busy worker sends few large messages and an idle
one sends each report at once. A quiet stream carries heartbeats, four in a lease.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping

import grpc
import grpc.aio

from wingbeat.endpoint import Endpoint
from wingbeat.worker.attempts import Attempts
from wingbeatidl.worker.v1 import worker_pb2

WORK = "/wingbeatidl.worker.v1.WorkerService/Work"
MESSAGE_BYTES_MAX = 64 << 20
BYTES_MAX = 1 << 20
"""Output and values in one message, but for the last one."""
GATHER_S = 0.001
"""Least time between two messages: a message costs far more than one more report in it."""
GATHER_AT_HAND_S = 0.004
"""The same while further tasks are at hand, so that nothing here waits for what the engine says next."""
CODES_MAX = 1_000
"""Environments that are remembered."""
_SECURE = "https://"
"""Before the address of an engine that speaks TLS."""
_BACKOFF_S_MIN = 0.05
_BACKOFF_S_MAX = 2.0
_LEASE_S = 6.0

_log = logging.getLogger(__name__)


class EngineStream:
    """Implements attempt.Engine for the engine of one term at one address.

    Engines of an installation have its server's certificate, so one that speaks TLS is checked as the server is.
    """

    def __init__(self, address: str, server: Endpoint, hello: worker_pb2.Hello, attempts: Attempts) -> None:
        self.address = address
        self._server = server
        self.welcomed = asyncio.Event()
        self._hello = hello
        self._attempts = attempts
        self._next = worker_pb2.WorkRequest()
        self._full: deque[worker_pb2.WorkRequest] = deque()
        """Messages before that one, which are large enough."""
        self._bytes = 0
        self._more = asyncio.Event()
        self._elsewhere = 0
        self._ahead = 0
        """How many attempts it was told to hand over ahead."""
        self._lease_s = _LEASE_S
        self._draining = False
        self._is_leaving = False
        self._has_said_all = False
        self._left = asyncio.Event()
        self._talks = 0
        self._codes: dict[str, Mapping[str, str]] = {}
        """Environments; messages name all that they need."""

    # ---- what attempts say ----

    def started(self, report: worker_pb2.Started) -> None:
        """See attempt.Engine."""
        self._next.started.append(report)
        self._more.set()

    def ended(self, report: worker_pb2.Ended) -> None:
        """See attempt.Engine."""
        self._next.ended.append(report)
        self._grown(len(report.outputs) + len(report.error_document))

    def output(self, chunk: worker_pb2.LogChunk) -> None:
        """See attempt.Engine."""
        self._next.logs.append(chunk)
        self._grown(len(chunk.content))

    def returned(self, reference: worker_pb2.Reference) -> None:
        """See attempt.Engine."""
        self._next.returned.append(reference)
        self._more.set()

    def slots_changed(self) -> None:
        """See attempt.Engine; the other engines are told by `tell_slots`."""

    def tell_slots(self) -> None:
        """Say how many slots other engines take, and how many attempts are taken ahead, if that has changed."""
        if self._ahead != self._attempts.ahead:
            self._more.set()
        elsewhere = self._attempts.taken_elsewhere(self)
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            self._next.slots_elsewhere = elsewhere
            self._more.set()

    def drain(self) -> None:
        """Say that no further task is taken."""
        self._draining = True
        self._next.draining = True
        self._more.set()

    async def hang_up(self) -> None:
        """Say all that is to be said, and end the stream once the engine has heard it."""
        self._is_leaving = True
        self._more.set()
        await self._left.wait()

    # ---- the stream ----

    async def run(self) -> None:
        """Talk until cancelled, or all is said before leaving."""
        failures = 0
        while True:
            self.welcomed.clear()
            try:
                async with self._connect() as channel:
                    await self._talk(channel)
                if self._has_said_all:
                    self._left.set()
                    return
                reason = "it has hung up"
            except grpc.aio.AioRpcError as error:
                reason = error.details() or error.code().name
            if self.welcomed.is_set():
                failures = 0
            failures += 1
            _log.warning("no stream to the engine at %s: %s", self.address, reason)
            self._drop_unsaid()
            await asyncio.sleep(min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(failures, 10)))

    def _connect(self) -> grpc.aio.Channel:
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
        ]
        if not self.address.startswith(_SECURE):
            return grpc.aio.insecure_channel(self.address, options=options)
        options.append(("grpc.ssl_target_name_override", self._server.host))
        address = self.address.removeprefix(_SECURE)
        return grpc.aio.secure_channel(address, self._server.credentials(), options=options)

    async def _talk(self, channel: grpc.aio.Channel) -> None:
        work = channel.stream_stream(
            WORK,
            request_serializer=worker_pb2.WorkRequest.SerializeToString,
            response_deserializer=worker_pb2.WorkResponse.FromString,
        )
        self._talks += 1
        call = work(self._say(self._talks))
        try:
            async for response in call:
                self._hear(response)
                self._attempts.start_waiting()
        finally:
            call.cancel()

    async def _say(self, number: int) -> AsyncIterator[worker_pb2.WorkRequest]:
        """What is said in one talk; a later one ends it, lest it take from that what is to be said."""
        hello = worker_pb2.Hello()
        hello.CopyFrom(self._hello)
        for attempt in self._attempts.resume(self):
            hello.held.add(reference=attempt.reference, ended=attempt.report is not None)
        self._drop_unsaid()
        self._elsewhere = 0
        yield worker_pb2.WorkRequest(hello=hello, draining=self._draining)
        await self.welcomed.wait()
        if number != self._talks:
            return
        self._attempts.repeat_reports(self)
        if self._is_leaving:
            self._more.set()  # the stream broke before the engine had heard that
        self._ahead = 0
        self.tell_slots()
        loop = asyncio.get_running_loop()
        sent_at = 0.0
        while True:
            try:
                async with asyncio.timeout(self._lease_s / 4):
                    await self._more.wait()
            except TimeoutError:
                yield worker_pb2.WorkRequest()
                continue
            if number != self._talks:
                return
            gather_s = GATHER_AT_HAND_S if self._attempts.has_waiting else GATHER_S
            wait_s = sent_at + gather_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if number != self._talks:
                return
            self._more.clear()
            sent_at = loop.time()
            while self._full and number == self._talks:
                yield self._full.popleft()
            if number != self._talks:
                return
            if self._ahead != self._attempts.ahead:
                self._ahead = self._next.ahead = self._attempts.ahead
            message, self._next = self._next, worker_pb2.WorkRequest()
            self._bytes = 0
            message.leaving = self._is_leaving
            yield message
            if message.leaving:
                self._has_said_all = True
                return

    def _grown(self, size: int) -> None:
        self._bytes += size
        if self._bytes > BYTES_MAX:
            self._full.append(self._next)
            self._next = worker_pb2.WorkRequest()
            self._bytes = 0
        self._more.set()

    def _drop_unsaid(self) -> None:
        """The stream is another one: what counts is said again, output is not."""
        self._next = worker_pb2.WorkRequest()
        self._full.clear()
        self._bytes = 0

    def _hear(self, response: worker_pb2.WorkResponse) -> None:
        attempts = self._attempts
        if response.HasField("welcome"):
            self._lease_s = response.welcome.lease_s or _LEASE_S
            self.welcomed.set()
        for reference in response.abort:
            attempts.abort(reference, engine=self)
        for name in response.forget:
            attempts.forget(name, self)
        for reference in response.adopt:
            if attempts.take_over(self, reference):
                self._next.held.add(reference=reference)
            else:
                self._next.unknown.append(reference)
            self._more.set()
        for code in response.codes:
            if code.key not in self._codes:
                if len(self._codes) >= CODES_MAX:
                    self._codes.clear()
                self._codes[code.key] = dict(code.env)
        for assignment in response.assign:
            attempts.assign(self, assignment, self._codes.get(assignment.code))
