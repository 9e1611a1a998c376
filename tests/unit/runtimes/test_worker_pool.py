"""The engine's side of workers, without a stream: slots, fencing, leases and adoption, on a clock of its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import looptime  # noqa: F401  (the plugin runs the clock)
import pytest
from flyteidl.core import errors_pb2
from tests.unit.runtimes.test_worker_needs import template

from wingbeat_propeller.core.effects import Launch, NodeRef
from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.core.plan import TaskSpec
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest
from wingbeat_propeller.runtimes.worker.log_files import LogFiles
from wingbeat_propeller.runtimes.worker.options import WorkerPoolOptions
from wingbeat_propeller.runtimes.worker.pool import RETURN_REST_S, TooManyWorkersError, WorkerPool
from wingbeat_propeller.runtimes.worker.session import MESSAGE_BYTES_MAX, UNSAID_MAX, Session
from wingbeatidl.worker.v1 import worker_pb2

pytestmark = pytest.mark.looptime

TENANT = ("p", "development")


class Pool:
    """A pool with what its owner hears."""

    def __init__(self, folder: Path, **options: object) -> None:
        base = WorkerPoolOptions(state_dir=folder, logs_url_base="http://h/logs", adopt_grace_s=1.0)
        self.pool = WorkerPool(replace(base, **options))
        self.events: list[RuntimeEvent] = []
        self.returned: list[str] = []
        self.pool.subscribe(self.events.extend)
        self.pool.subscribe_lanes(changed=lambda _: None, returned=self.returned.extend)

    def connect(self, worker: str = "w", slots: int = 2, **hello: object) -> Session:
        """A worker says hello."""
        said = worker_pb2.Hello(worker_id=worker, name=worker, slots=slots, **hello)
        return self.pool.connect(said)[0]

    @property
    def lane(self) -> str:
        """Where the task belongs now."""
        return self.pool.lane(launch(), TENANT, {}, {})

    async def run(self, session: Session, *names: str) -> list[worker_pb2.Reference]:
        """Hand attempts over; what the worker was told of them."""
        for name in names:
            assert self.pool.take(self.lane, name)
        await self.pool.launch([request(name) for name in names])
        return [one.reference for one in (await said(session)).assign]


TASK = TaskSpec.__new__(TaskSpec)


def launch() -> Launch:
    """An attempt of a Python task, as far as its lane depends on it."""
    return Launch(
        ref=NodeRef(0, 1, 0),
        name="a",
        generated_name="a",
        node_id="n0",
        task=TASK,
        previous_generated_name=None,
        inputs=b"",
        data_dir="/d",
        output_dir="/d/0",
        timeout_s=None,
        interruptible=False,
    )


@pytest.fixture(autouse=True)
def _task() -> None:
    object.__setattr__(TASK, "template", template())


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Pool]:
    """A pool with these options."""
    return lambda **options: Pool(tmp_path, **options)


def request(name: str) -> ContainerRequest:
    """What a plugin makes of the task."""
    origin = AttemptOrigin(*TENANT, "e", "n0", 0)
    return ContainerRequest(name=name, image="img", argv=["pyflyte-execute"], env={}, origin=origin)


def succeeded(reference: worker_pb2.Reference, outputs: bytes = b"") -> worker_pb2.WorkRequest:
    """A worker reports a good end."""
    ended = worker_pb2.Ended(reference=reference, started_at=1.0, ended_at=2.0, outputs=outputs)
    return worker_pb2.WorkRequest(ended=[ended])


async def said(session: Session) -> worker_pb2.WorkResponse:
    """What the worker is told next."""
    message = await session.next_message(session.stream, 5)
    assert message is not None
    return message


def ends(events: Sequence[RuntimeEvent]) -> list[Ended]:
    """The ends among events."""
    return [event for event in events if isinstance(event, Ended)]


async def test_without_a_worker(make: Callable[..., Pool]) -> None:
    """Tasks fall back, or wait, as their project's policy says; what no worker can run always falls back."""
    assert make().lane == ""
    waiting = make(without_worker_of={"p": "wait"})
    assert waiting.lane
    assert not waiting.pool.take(waiting.lane, "a")
    assert "image 'img'" in waiting.pool.wants(waiting.lane)
    assert waiting.pool.lane(launch(), TENANT, {}, {"LD_PRELOAD": "x"}) == ""
    assert waiting.pool.lane(launch(), ("q", "development"), {}, {}) == ""


async def test_slots_bound_what_is_given(make: Callable[..., Pool]) -> None:
    """No worker gets more than its slots, less those that other engines use; an end makes room."""
    pool = make()
    session = pool.connect(slots=2)
    first, _ = await pool.run(session, "a", "b")
    assert not pool.pool.take(pool.lane, "c")
    pool.pool.hear(session, succeeded(first))
    pool.pool.free(["a"])
    pool.pool.hear(session, worker_pb2.WorkRequest(slots_elsewhere=1))
    assert not pool.pool.take(pool.lane, "c")
    pool.pool.hear(session, worker_pb2.WorkRequest(slots_elsewhere=0))
    assert pool.pool.take(pool.lane, "c")


async def test_a_worker_that_lies_about_its_slots_is_bounded(make: Callable[..., Pool]) -> None:
    """Neither more slots than the installation allows count, nor more taken elsewhere than there are."""
    pool = make(slots_max=3)
    welcome = pool.pool.connect(worker_pb2.Hello(worker_id="w", slots=1_000_000))[2]
    assert welcome.slots == 3
    session = pool.connect(slots=1_000_000)
    assert [pool.pool.take(pool.lane, name) for name in "abcd"] == [True, True, True, False]
    pool.pool.hear(session, worker_pb2.WorkRequest(slots_elsewhere=-5))
    assert not pool.pool.take(pool.lane, "d")
    pool.pool.hear(session, worker_pb2.WorkRequest(slots_elsewhere=10**6))
    assert pool.pool.capacity(pool.lane) == 0


async def test_a_worker_that_gives_back_what_it_said_to_have_room_for(make: Callable[..., Pool]) -> None:
    """It rests for a while, so that others get their turn and nothing goes round in circles; then it may try again."""
    pool = make()
    liar = pool.connect("liar", slots=1000)
    pool.connect("honest", slots=1)
    [reference] = await pool.run(liar, "a")
    pool.pool.hear(liar, worker_pb2.WorkRequest(returned=[reference]))
    assert pool.returned == ["a"]
    honest = pool.connect("honest", slots=1)
    await pool.run(honest, "a")
    assert not pool.pool.take(pool.lane, "b")
    await asyncio.sleep(RETURN_REST_S + 0.1)
    assert pool.pool.take(pool.lane, "b")


async def test_messages_to_a_worker_are_bounded(make: Callable[..., Pool]) -> None:
    """However much it is given at once, each message is one that it takes, and all of it comes."""
    pool = make()
    session = pool.connect(slots=300)
    names = [f"a{number}" for number in range(300)]
    for name in names:
        assert pool.pool.take(pool.lane, name)
    await pool.pool.launch([request(name)._replace(inputs=b"x" * 65_536) for name in names])
    got: list[str] = []
    while len(got) < 300:
        message = await said(session)
        assert message.ByteSize() < MESSAGE_BYTES_MAX + 100_000
        got += [one.reference.name for one in message.assign]
    assert got == names


async def test_a_worker_that_never_reads(make: Callable[..., Pool]) -> None:
    """One that makes the engine answer without end and takes no answer loses its stream; what it was given is sent to
    its next one."""
    pool = make()
    session, number, _ = pool.pool.connect(worker_pb2.Hello(worker_id="w", name="w", slots=1))
    assert pool.pool.take(pool.lane, "a")
    await pool.pool.launch([request("a")])
    flood = [worker_pb2.Held(reference=worker_pb2.Reference(name=f"x{one}", token=1)) for one in range(1000)]
    for _ in range(UNSAID_MAX // 1000):
        pool.pool.hear(session, worker_pb2.WorkRequest(held=flood))
    assert await session.next_message(number, 5) is None
    assert not pool.pool.take(pool.lane, "b")
    again = pool.connect("w", slots=1)
    assert [one.reference.name for one in (await said(again)).assign] == ["a"]


async def test_kinds_of_needs_are_bounded(make: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of executions may ask for whatever they like: what nothing waits for any more is forgotten."""
    monkeypatch.setattr("wingbeat_propeller.runtimes.worker.pool.LANES_MAX", 3)
    pool = make(without_worker="wait", lease_s=4.0)
    running = asyncio.create_task(pool.pool.run())

    def lane(number: int) -> str:
        return pool.pool.lane(launch(), TENANT, {"worker.wingbeat.dev/pool": str(number)}, {})

    lanes = [lane(number) for number in range(4)]
    assert all("label pool=" in pool.pool.wants(one) for one in lanes)
    await asyncio.sleep(1)
    assert [pool.pool.wants(one) for one in lanes] == [""] * 4
    assert not pool.pool.take(lanes[0], "a")
    assert lane(0) not in lanes
    running.cancel()


async def test_too_many_workers(make: Callable[..., Pool]) -> None:
    """One more than may be is refused; one that is known may come again."""
    pool = make(workers_max=1)
    pool.connect("w")
    with pytest.raises(TooManyWorkersError):
        pool.connect("v")
    pool.connect("w")


async def test_ends(make: Callable[..., Pool]) -> None:
    """Outputs, errors and exits come out as the engine judges them, each with its start, if that was not told."""
    pool = make()
    session = pool.connect(slots=4)
    a, b, c, d = await pool.run(session, "a", "b", "c", "d")
    document = errors_pb2.ErrorDocument()
    document.error.code, document.error.message, document.error.origin = "USER:Recoverable", "no", 1
    document.error.kind = errors_pb2.ContainerError.RECOVERABLE
    pool.pool.hear(session, succeeded(a, b"\x0a\x00"))
    ended = [
        worker_pb2.Ended(reference=b, error_document=document.SerializeToString()),
        worker_pb2.Ended(reference=c, exit=worker_pb2.Exit(reason=worker_pb2.Exit.REASON_EXITED, code=3)),
        worker_pb2.Ended(reference=d, files=True),
    ]
    pool.pool.hear(session, worker_pb2.WorkRequest(ended=ended))
    assert [type(event) for event in pool.events] == [Ended] * 4
    assert all(event.started_at is not None and event.started_at <= event.at for event in ends(pool.events))
    good, bad, exited, files = ends(pool.events)
    assert (good.outputs, good.failure) == (b"\x0a\x00", None)
    assert bad.failure is not None
    assert (bad.failure.kind, bad.failure.code, bad.failure.retryable) == (ErrorKind.USER, "USER:Recoverable", True)
    assert exited.failure is not None
    assert exited.failure.code == "Error"
    assert (files.outputs, files.failure) == (None, None)


@pytest.mark.parametrize(
    ("exit_", "kind", "code"),
    [
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_TIMEOUT, detail="5"), ErrorKind.USER, "TimeoutExpired"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_OUT_OF_MEMORY, detail="2/1"), ErrorKind.USER, "OOMKilled"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_OUT_OF_MEMORY, detail="?"), ErrorKind.SYSTEM, "Interrupted"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_STOPPED), ErrorKind.SYSTEM, "Interrupted"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_SETUP_FAILED), ErrorKind.SYSTEM, "SetupFailed"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_EXITED, signal=9), ErrorKind.SYSTEM, "Interrupted"),
        (worker_pb2.Exit(reason=worker_pb2.Exit.REASON_EXITED, signal=11), ErrorKind.USER, "Error"),
    ],
)
async def test_exits(make: Callable[..., Pool], exit_: worker_pb2.Exit, kind: ErrorKind, code: str) -> None:
    """Every end without a result may be tried again; whose fault it is decides which budget that takes."""
    pool = make()
    session = pool.connect()
    [reference] = await pool.run(session, "a")
    pool.pool.hear(session, worker_pb2.WorkRequest(ended=[worker_pb2.Ended(reference=reference, exit=exit_)]))
    [end] = ends(pool.events)
    assert end.failure is not None
    assert (end.failure.kind, end.failure.code, end.failure.retryable) == (kind, code, True)


async def test_a_lost_worker_reports_nothing_any_more(make: Callable[..., Pool]) -> None:
    """When a lease is over its attempts have failed for the system's reasons; whatever the worker says later counts for
    nothing, and it is told to stop what it still runs."""
    pool = make(lease_s=4.0)
    running = asyncio.create_task(pool.pool.run())
    session = pool.connect()
    [reference] = await pool.run(session, "a")
    await asyncio.sleep(3)
    pool.pool.hear(session, worker_pb2.WorkRequest())
    await asyncio.sleep(3)
    assert not pool.events
    await asyncio.sleep(3)
    [end] = ends(pool.events)
    assert end.failure is not None
    assert (end.failure.kind, end.failure.code, end.failure.retryable) == (ErrorKind.SYSTEM, "WorkerLost", True)
    pool.pool.hear(session, succeeded(reference))
    again = pool.connect(held=[worker_pb2.Held(reference=reference)])
    assert list((await said(again)).abort) == [reference]
    pool.pool.hear(again, succeeded(reference))
    assert len(ends(pool.events)) == 1
    running.cancel()


async def test_only_the_last_token_counts(make: Callable[..., Pool]) -> None:
    """An attempt that was launched anew is not ended by a report about the handing over before."""
    pool = make()
    session = pool.connect()
    [old] = await pool.run(session, "a")
    await pool.pool.abort(["a"])
    assert list((await said(session)).abort) == [old]
    [new] = await pool.run(session, "a")
    assert new.token != old.token
    pool.pool.hear(session, succeeded(old))
    assert not pool.events
    pool.pool.hear(session, succeeded(new))
    assert len(ends(pool.events)) == 1


async def test_a_stream_that_breaks_costs_nothing(make: Callable[..., Pool]) -> None:
    """What the worker has goes on, what it never got is sent again, what was given up meanwhile is stopped."""
    pool = make()
    session, number, _ = pool.pool.connect(worker_pb2.Hello(worker_id="w", name="w", slots=3))
    got, lost, ended = await pool.run(session, "a", "b", "c")
    pool.pool.disconnect(session, number)
    assert not pool.pool.take(pool.lane, "d")
    await pool.pool.abort(["c"])
    held = [worker_pb2.Held(reference=got), worker_pb2.Held(reference=ended)]
    assert pool.connect(slots=3, held=held) is session
    message = await said(session)
    assert [one.reference for one in message.assign] == [lost]
    assert list(message.abort) == [ended]
    pool.pool.hear(session, succeeded(got))
    assert len(ends(pool.events)) == 1


async def test_a_stream_that_is_over_takes_nothing_from_the_next(make: Callable[..., Pool]) -> None:
    """Whoever still serves the old stream of a worker gets no message that is meant for the new one."""
    pool = make()
    session, old, _ = pool.pool.connect(worker_pb2.Hello(worker_id="w", name="w", slots=1))
    waiting = asyncio.create_task(session.next_message(old, 60))
    await asyncio.sleep(1)
    pool.connect("w", slots=1)
    [reference] = await pool.run(session, "a")
    assert reference.name == "a"
    assert await waiting is None


async def test_adoption(make: Callable[..., Pool]) -> None:
    """After a restart of the engine, workers are given time to find it, and are asked; who has an attempt goes on with
    it under a new token, and what nobody has is not known."""
    pool = make()
    running = asyncio.create_task(pool.pool.run())
    await asyncio.sleep(0)
    adopting = asyncio.create_task(pool.pool.adopt(["a", "b"]))
    await asyncio.sleep(0.5)
    session = pool.connect(held=[worker_pb2.Held(reference=worker_pb2.Reference(name="a", token=7))])
    asked: list[worker_pb2.Reference] = []
    while len(asked) < 2:
        asked += (await said(session)).adopt
    of_a, of_b = asked
    pool.pool.hear(session, worker_pb2.WorkRequest(held=[worker_pb2.Held(reference=of_a)], unknown=[of_b]))
    assert await adopting == ["a"]
    pool.pool.hear(session, succeeded(of_a, b"\x0a\x00"))
    assert ends(pool.events)[0].name == "a"
    await pool.pool.forget(["a"])
    assert list((await said(session)).forget) == ["a"]
    running.cancel()


async def test_what_is_given_back_waits_again(make: Callable[..., Pool]) -> None:
    """A worker that drains gives back what it has not begun, and gets nothing more."""
    pool = make()
    session = pool.connect()
    [reference] = await pool.run(session, "a")
    pool.pool.hear(session, worker_pb2.WorkRequest(draining=True, returned=[reference]))
    assert pool.returned == ["a"]
    assert pool.lane == ""
    assert not pool.events


async def test_an_attempt_whose_worker_is_gone_before_it_is_sent(make: Callable[..., Pool]) -> None:
    """It comes back to its line instead of being lost."""
    pool = make(lease_s=1.0)
    running = asyncio.create_task(pool.pool.run())
    pool.connect()
    assert pool.pool.take(pool.lane, "a")
    await asyncio.sleep(3)
    assert not pool.pool.holds("a")
    await pool.pool.launch([request("a")])
    assert pool.returned == ["a"]
    running.cancel()


async def test_output_is_linked(make: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """That of each attempt, whether or not it wrote something; chunks of others count for nothing."""
    kept: list[tuple[str, str, bytes]] = []
    monkeypatch.setattr(LogFiles, "add", lambda _, *chunk: kept.append(chunk))
    pool = make()
    session = pool.connect()
    loud, quiet = await pool.run(session, "a", "b")
    stale = worker_pb2.Reference(name="b", token=quiet.token + 1000)
    chunks = [worker_pb2.LogChunk(reference=one, stderr=True, content=b"text") for one in (loud, stale)]
    pool.pool.hear(session, worker_pb2.WorkRequest(logs=chunks))
    for reference in (loud, quiet):
        pool.pool.hear(session, succeeded(reference))
    assert [[link.name for link in end.logs] for end in ends(pool.events)] == [["stdout", "stderr"]] * 2
    assert kept == [("a", "stderr", b"text")]


async def test_attempts_ahead_of_slots(make: Callable[..., Pool]) -> None:
    """A worker that asks for it gets some beyond its slots, but not while another one has a slot, and only as many as
    it says; it has none of that when its stream begins anew."""
    pool = make()
    busy, idle = pool.connect("busy", slots=1), pool.connect("idle", slots=2)
    pool.pool.hear(busy, worker_pb2.WorkRequest(ahead=2))
    assert pool.pool.capacity(pool.lane) == 5
    for name in "abcde":
        assert pool.pool.take(pool.lane, name)
    assert (len(busy.names), len(idle.names)) == (3, 2)
    assert not pool.pool.take(pool.lane, "f")
    pool.pool.hear(busy, worker_pb2.WorkRequest(ahead=0))
    pool.pool.free(list(busy.names)[:1])
    assert not pool.pool.take(pool.lane, "f")
    pool.pool.hear(busy, worker_pb2.WorkRequest(ahead=1 << 30))
    assert pool.pool.take(pool.lane, "f")
    pool.connect("busy", slots=1)
    assert pool.pool.capacity(pool.lane) == 3
    assert not pool.pool.take(pool.lane, "g")


async def test_what_is_given_back_makes_room_for_nothing(make: Callable[..., Pool]) -> None:
    """A worker that takes nothing ahead any more gives back what it has not begun, and is not given it again."""
    pool = make()
    session = pool.connect(slots=1)
    pool.pool.hear(session, worker_pb2.WorkRequest(ahead=1))
    [_, second] = await pool.run(session, "a", "b")
    refused: list[bool] = []
    pool.pool.subscribe_lanes(
        changed=lambda _: None, returned=lambda names: refused.append(pool.pool.take(pool.lane, names[0]))
    )
    pool.pool.hear(session, worker_pb2.WorkRequest(returned=[second], ahead=0))
    assert refused == [False]


async def test_what_is_not_urgent_goes_with_what_is(make: Callable[..., Pool]) -> None:
    """Kept ends make no message of their own, but are said before the worker could take the engine for silent."""
    pool = make()
    session = pool.connect()
    loop = asyncio.get_running_loop()
    for hurry in (True, False):
        [reference] = await pool.run(session, "a")
        pool.pool.hear(session, succeeded(reference))
        await pool.pool.forget(["a"])
        began = loop.time()
        if hurry:
            assert pool.pool.take(pool.lane, "b")
            await pool.pool.launch([request("b")])
        assert list((await said(session)).forget) == ["a"]
        assert loop.time() - began == pytest.approx(0 if hurry else 5, abs=0.1)
