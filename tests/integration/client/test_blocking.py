"""The client without asyncio: iterators, threads, blocking callers, forks."""

import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from wingbeat import Client, background
from wingbeat.errors import ForkedError, UnavailableError, WingbeatError


def test_iterators_fetch_ahead_within_bounds() -> None:
    """Everything arrives in order; what is left alone stops, and its source is closed."""
    loop = background.background_loop()
    given: list[int] = []
    closed = threading.Event()

    async def numbers(count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                given.append(number)
                yield number
        finally:
            closed.set()

    assert list(background.iterate(loop, numbers(5_000))) == list(range(5_000))
    assert closed.wait(10)
    closed.clear()
    given.clear()
    endless = background.iterate(loop, numbers(10**9))
    assert [next(endless) for _ in range(3)] == [0, 1, 2]
    endless.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert closed.wait(10)
    assert len(given) <= 3 * background.BUFFER_MAX


def test_errors_come_after_what_was_there() -> None:
    """An error of the source is raised when all before it has been taken."""

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise WingbeatError("broken")

    found: list[int] = []
    with pytest.raises(WingbeatError, match="broken"):
        found.extend(background.iterate(background.background_loop(), broken()))
    assert found == [1]


def _child(client: Client, answers: "multiprocessing.SimpleQueue[str]") -> None:
    for use in (lambda: client.execution("e"), lambda: Client("127.0.0.1:1")):
        try:
            use()
        except ForkedError as error:
            answers.put(str(error))
    os._exit(0)  # nothing of the parent's is torn down here


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_are_told() -> None:
    """A client in a child of its process is an error with advice, and never a hang."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    client = Client("127.0.0.1:1")
    child = context.Process(target=_child, args=(client, answers))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert "spawn or forkserver" in answers.get()
    assert "spawn or forkserver" in answers.get()
    client.close()


def test_an_unreachable_server() -> None:
    """The error of the other thread is the caller's."""
    from wingbeat import Patience

    with Client("127.0.0.1:1", patience=Patience(unreachable_s=0.2)) as client, pytest.raises(UnavailableError):
        next(_first(client))


def _first(client: Client) -> Iterator[object]:
    yield from client.executions()
