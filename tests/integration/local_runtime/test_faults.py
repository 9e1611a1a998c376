"""Attempts outlive the engine and their task host; nothing runs twice and no end is lost."""

import asyncio
import os
import signal
from pathlib import Path

from tests.integration.local_runtime.conftest import FollowRuntime, shell_request

from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.tasks import AttemptOrigin
from wingbeat_propeller.runtimes.local import LocalRuntimeOptions, stop_hosts
from wingbeat_propeller.runtimes.local.paths import host_folder, log_file, task_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import CLAIMS_FOLDER, Claim, read_claim, write_claim


def _claim(options: LocalRuntimeOptions, name: str) -> Claim:
    claim = read_claim(str(task_folder(options.state_dir, name)))
    assert claim is not None
    return claim


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Gate:
    """Lets a shell script say that it runs, and wait until it may go on."""

    def __init__(self, folder: Path) -> None:
        self._running = folder / "running"
        self._go = folder / "go"
        self._runs = folder / "runs"
        os.mkfifo(self._running)
        os.mkfifo(self._go)

    def script(self, rest: str) -> str:
        """A script that passes the gate and then does `rest`."""
        return f"echo run >> {self._runs}; echo > {self._running}; read x < {self._go}; {rest}"

    async def entered(self) -> None:
        """Until the script is at the gate."""
        await asyncio.to_thread(self._running.read_text)

    async def open(self) -> None:
        """Let it go on."""
        await asyncio.to_thread(self._go.write_text, "go\n")

    def runs(self) -> int:
        """How often the script was started."""
        return len(self._runs.read_text().splitlines())


async def test_running_attempt_is_adopted_by_the_next_engine(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """An engine that went away and came back hears of the end, and a repeated launch starts nothing."""
    gate = Gate(tmp_path)
    request = shell_request("a", gate.script("exit 5"))
    async with follow() as first:
        await first.runtime.launch([request])
        await gate.entered()
    async with follow() as second:
        assert await second.runtime.adopt(["a", "unknown"]) == ["a"]
        await second.runtime.launch([request])
        await second.started("a")
        await gate.open()
        failure = (await second.ended("a")).failure
    assert failure is not None
    assert "exit code 5" in failure.message
    assert gate.runs() == 1


async def test_end_without_an_engine_is_reported_to_the_next(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """What ended while nobody listened is still there to be told."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("exit 6"))
        await gate.entered()
    keeper = os.pidfd_open(_claim(options, "a").pid)
    await gate.open()
    await _readable(keeper)
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == ["a"]
        failure = (await second.ended("a")).failure
    assert failure is not None
    assert "exit code 6" in failure.message


async def test_attempt_survives_its_killed_host(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """The program goes on without its host, the next host waits for it and reports what it did."""
    gate = Gate(tmp_path)
    async with follow() as follower:
        await follower.shell("a", gate.script("exit 7"))
        await gate.entered()
        os.kill(_parent(_claim(options, "a").pid), signal.SIGKILL)
        await follower.shell("b", "true")
        await follower.ended("b")  # so a new host serves
        await gate.open()
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert "exit code 7" in failure.message
    assert gate.runs() == 1


async def test_end_while_neither_engine_nor_host_lives(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """The attempt records its end itself."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("exit 8"))
        await gate.entered()
    claim = _claim(options, "a")
    os.kill(_parent(claim.pid), signal.SIGKILL)
    keeper = os.pidfd_open(claim.pid)
    await gate.open()
    await _readable(keeper)
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == ["a"]
        failure = (await second.ended("a")).failure
    assert failure is not None
    assert "exit code 8" in failure.message


async def test_everything_killed_is_interrupted(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """An attempt whose process vanished without a record is the system's failure, and what is left of it is ended."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("exit 0"))
        await gate.entered()
    claim = _claim(options, "a")
    program = int(Path(f"/proc/{claim.pid}/task/{claim.pid}/children").read_text().split()[0])
    left_over = os.pidfd_open(program)
    os.kill(_parent(claim.pid), signal.SIGKILL)
    os.kill(claim.pid, signal.SIGKILL)
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == ["a"]
        failure = (await second.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.SYSTEM, "Interrupted", True)
    await _readable(left_over)


async def test_claim_of_an_earlier_boot_is_not_believed(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """After a restart of the machine the recorded pid is somebody else's, who is left alone."""
    folder = task_folder(options.state_dir, "a")
    folder.mkdir(parents=True)
    (options.state_dir / CLAIMS_FOLDER).mkdir()
    write_claim(str(folder), Claim(os.getpid(), 0, "another boot", "plain", None, None))
    async with follow() as follower:
        assert await follower.runtime.adopt(["a"]) == ["a"]
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert failure.code == "Interrupted"


async def test_abort_reaches_an_attempt_of_a_former_engine(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """Names are enough to stop what another engine started, also when its host is gone."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("sleep 600"))
        await gate.entered()
    claim = _claim(options, "a")
    keeper = os.pidfd_open(claim.pid)
    os.kill(_parent(claim.pid), signal.SIGKILL)
    async with follow() as second:
        await second.runtime.abort(["a"])
        await _readable(keeper)


async def test_stopping_ends_tasks_and_hosts(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """After a stop nothing runs, and to the next engine the attempt looks as if it had never been started."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("sleep 600"))
        await gate.entered()
    keeper = os.pidfd_open(_claim(options, "a").pid)
    await stop_hosts(options.state_dir)
    await _readable(keeper)
    assert not (host_folder(options.state_dir, "plain") / "socket").exists()
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == []
        await second.shell("a", gate.script("true"))
        await gate.entered()
        await gate.open()
        assert (await second.ended("a")).failure is None
    assert gate.runs() == 2


async def test_stopping_keeps_what_had_ended(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """An attempt that ended before the stop is not run again: its end is there for the next engine."""
    async with follow() as first:
        await first.shell("a", "exit 3")
        await first.ended("a")
    await stop_hosts(options.state_dir)
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == ["a"]
        failure = (await second.ended("a")).failure
    assert failure is not None
    assert "exit code 3" in failure.message


async def test_stopping_ends_tasks_whose_host_was_killed(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """A stop ends attempts that no host watches, too."""
    gate = Gate(tmp_path)
    async with follow() as first:
        await first.shell("a", gate.script("sleep 600"))
        await gate.entered()
    claim = _claim(options, "a")
    keeper = os.pidfd_open(claim.pid)
    os.kill(_parent(claim.pid), signal.SIGKILL)
    await stop_hosts(options.state_dir)
    await _readable(keeper)
    async with follow() as second:
        assert await second.runtime.adopt(["a"]) == []


async def test_records_say_where_attempts_belong(
    follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """Any engine can list what is kept, running or ended; an attempt leaves the list when it is forgotten after its
    end, and not while it still ends. Its logs stay."""
    gate = Gate(tmp_path)
    origin = AttemptOrigin("p", "d:1", "e", "n0", 2)
    async with follow() as first:
        requests = [shell_request("running", gate.script("sleep 600")), shell_request("ended", "echo done")]
        await first.runtime.launch([request._replace(origin=origin) for request in requests])
        await first.ended("ended")
        await gate.entered()
    async with follow() as second:
        assert await second.runtime.recorded() == {"running": origin, "ended": origin}
        await second.runtime.forget(["running", "ended"])
        assert await second.runtime.recorded() == {"running": origin}
        keeper = os.pidfd_open(_claim(options, "running").pid)
        await second.runtime.abort(["running"])
        await _readable(keeper)
        async with asyncio.timeout(60):
            while await second.runtime.recorded():
                await second.runtime.forget(["running"])
    assert log_file(options.state_dir, "ended", "stdout").read_text() == "done\n"


async def test_a_deep_state_folder_works(follow: FollowRuntime, options: LocalRuntimeOptions, tmp_path: Path) -> None:
    """Addresses of unix sockets are short; paths of folders need not be."""
    import dataclasses

    deep = dataclasses.replace(options, state_dir=tmp_path / ("d" * 100) / "state")
    try:
        async with follow(deep) as follower:
            await follower.shell("a", "true")
            assert (await follower.ended("a")).failure is None
    finally:
        await stop_hosts(deep.state_dir)


async def _readable(pidfd: int) -> None:
    """Wait for the end of a process."""
    import select

    try:
        ready = await asyncio.to_thread(select.select, [pidfd], [], [], 30)
        assert ready[0], "the process still runs"
    finally:
        os.close(pidfd)
