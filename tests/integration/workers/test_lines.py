"""Jobs that stand in line in a child: each is run once or given back, and it is known which."""

import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wingbeat.worker.child import Child, Job, give_back
from wingbeat.worker.wingbeat_task_child.messages import PACKET_BYTES, Report, Task, receive, send


class Line:
    """A child whose process the test plays, and what was said of each job."""

    def __init__(self, folder: Path) -> None:
        self.child = Child(1, "code", folder)
        self.peer = self.child.theirs.dup()
        self.said: dict[int, list[str]] = {}
        self.ran: list[int] = []
        self._last = 0
        self._read: int | None = None

    def job(self, inputs: bytes = b"") -> Job:
        self._last += 1
        number = self._last
        said = self.said[number] = []
        task = Task(argv=[str(number)], env={}, inputs=inputs, cpus=())
        return Job(
            task,
            on_begin=lambda: said.append("began"),
            on_report=lambda _: said.append("reported"),
            on_end=lambda status: said.append(f"ended {status}"),
            on_return=lambda: said.append("returned"),
        )

    @property
    def is_at_work(self) -> bool:
        return self._read is not None

    def read(self) -> bool:
        """The process takes the next task, if there is one."""
        self.peer.settimeout(0)
        try:
            ready = self.peer.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.peer.settimeout(None)
        assert ready
        task = receive(self.peer)
        assert isinstance(task, dict)
        self._read = int(task["argv"][0])
        self.ran.append(self._read)
        return True

    def report(self, recycle: str = "") -> None:
        """It has run the task."""
        self._read = None
        send(
            self.peer,
            Report(
                started_at=0,
                ended_at=0,
                code=0,
                outputs=b"",
                error=None,
                files=False,
                stdout_bytes=0,
                stderr_bytes=0,
                rss_bytes=0,
                cpu_s=0,
                waits=0,
                recycle=recycle,
            ),
        )

    def run_one(self) -> None:
        """The first task, after which others may line up."""
        self.child.run(self.job())
        assert self.read()
        self.report()
        self.child.hear_out()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = Line(tmp_path)
    yield made
    made.child.close()
    made.peer.close()


async def test_nothing_lines_up_before_the_code_is_loaded(line: Line) -> None:
    """The first task may take long, or fail with its process."""
    line.child.run(line.job())
    assert not line.child.line_up(line.job())


async def test_each_turn_comes_with_the_report_before(line: Line) -> None:
    """In the order of the line."""
    line.run_one()
    line.child.run(line.job())
    assert line.child.line_up(line.job())
    assert line.said == {1: ["began", "reported"], 2: ["began"], 3: []}
    for _ in range(2):
        assert line.read()
        line.report()
        line.child.hear_out()
    assert line.ran == [1, 2, 3]
    assert list(line.said.values()) == 3 * [["began", "reported"]]
    assert line.child.done == 3


async def test_what_does_not_fit_into_a_packet_does_not_line_up(line: Line) -> None:
    """Nor does anything behind it: parts of it may be unread."""
    line.run_one()
    line.child.run(line.job(b"x" * 3 * PACKET_BYTES))
    assert not line.child.line_up(line.job())
    assert line.read()
    line.report()
    line.child.hear_out()
    line.child.run(line.job())
    assert not line.child.line_up(line.job(b"x" * PACKET_BYTES))
    assert line.child.line_up(line.job())


async def test_a_job_that_was_not_read_yet_keeps_its_turn(line: Line) -> None:
    """Its process will come to it, but the others are given back."""
    line.run_one()
    line.child.run(line.job())
    assert line.child.line_up(line.job())
    give_back(line.child.take_back())
    assert line.said[2] == ["began"]
    assert line.said[3] == ["returned"]
    assert line.read()
    assert not line.read()
    line.report()
    line.child.hear_out()
    assert line.ran == [1, 2]
    assert line.said[2] == ["began", "reported"]


async def test_a_child_that_is_replaced_begins_nothing_more(line: Line) -> None:
    """It has said so with its report, and ends."""
    line.run_one()
    line.child.run(line.job())
    assert line.child.line_up(line.job())
    assert line.read()
    line.report(recycle="a task has left a thread")
    line.child.hear_out()
    give_back(line.child.take_unread())
    assert line.said[2] == ["began", "reported"]
    assert line.said[3] == ["returned"]


async def test_an_end_counts_for_what_was_begun(line: Line) -> None:
    """The process has read two, and reported one when it dies; the third is given back."""
    line.run_one()
    line.child.run(line.job())
    assert line.child.line_up(line.job())
    assert line.child.line_up(line.job())
    assert line.read()
    line.report()
    assert line.read()
    line.child.hear_out()
    give_back(line.child.take_unread())
    line.child.end(9)
    assert line.said == {
        1: ["began", "reported"],
        2: ["began", "reported"],
        3: ["began", "ended 9"],
        4: ["returned"],
    }


async def test_a_child_that_is_killed_says_nothing_that_counts(line: Line) -> None:
    """Its end does."""
    line.run_one()
    line.child.run(line.job())
    line.child.signal(15)
    assert not line.child.line_up(line.job())
    assert line.read()
    line.report()
    line.child.hear_out()
    line.child.end(15)
    assert line.said[2] == ["began", "ended 15"]


@pytest.mark.parametrize("seed", range(200))
async def test_each_job_is_run_once_or_given_back(line: Line, seed: int) -> None:
    """Whatever happens in which order, in the end the worker knows what the process has done."""
    draw = random.Random(seed)
    line.run_one()
    for _ in range(60):
        match draw.choice(("run", "run", "take back", "read", "read", "report", "hear")):
            case "run" if not line.child.line:
                line.child.run(line.job())
            case "run" if len(line.child.line) < 8:
                line.child.line_up(line.job())
            case "take back":
                give_back(line.child.take_back())
                line.child.hear_out()
                running = line.child.line[0].task["argv"] if line.child.line else None
                if line.is_at_work:
                    assert running == [str(line.ran[-1])]
            case "read" if not line.is_at_work:
                line.read()
            case "report" if line.is_at_work:
                line.report()
            case "hear":
                line.child.hear_out()
            case _:
                pass
    line.child.hear_out()
    give_back(line.child.take_unread())
    line.child.end(9)
    assert sorted(set(line.ran)) == sorted(line.ran)
    for number, said in line.said.items():
        if number == line.ran[-1] and line.is_at_work:
            assert said == ["began", "ended 9"]
        elif number in line.ran:
            assert said == ["began", "reported"]
        else:  # never sent, given back, or not read before the process ended
            assert said in ([], ["returned"], ["began", "returned"])
