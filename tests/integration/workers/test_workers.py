"""Real workers: what they report, when they replace their processes, and what becomes of tasks when they end."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
from tests.integration.workers.conftest import SHORT_LEASE_S, Installation, integer, result

from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.runtime import Ended


def text(**values: str) -> bytes:
    """A serialized LiteralMap of strings."""
    from flyteidl.core import literals_pb2

    literals = {
        name: literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))
        for name, value in values.items()
    }
    return literals_pb2.LiteralMap(literals=literals).SerializeToString()


async def test_one_process_runs_many_tasks(installation: Installation) -> None:
    """Code is loaded once, values go and come without a file, and each task is told who it is."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    processes: set[int | str] = set()
    for number in range(5):
        await engine.run("increment", f"i{number}", integer(value=number))
        assert result(await engine.ended(f"i{number}")) == number + 1
        await engine.run("process", f"p{number}")
        processes.add(result(await engine.ended(f"p{number}")))
    assert len(processes) == 1
    await engine.run("identity", "who")
    assert result(await engine.ended("who")) == "who who v1"
    assert not (installation.folder / "blobs").exists()


async def test_versions_do_not_share_a_process(installation: Installation) -> None:
    """Neither another version nor another environment meets code that is loaded already."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    seen: list[int | str] = []
    for name, env in (("a", {}), ("b", {"FLYTE_INTERNAL_TASK_VERSION": "v2"}), ("c", {"MODE": "x"}), ("d", {})):
        await engine.run("process", name, env=env)
        seen.append(result(await engine.ended(name)))
    assert len(set(seen[:3])) == 3
    assert seen[3] == seen[0]


async def test_output_and_errors(installation: Installation) -> None:
    """What a task writes lies in its own log, and its failure is told as error.pb tells it."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    for name in ("t1", "t2"):
        await engine.run("talk", name)
        assert [link.name for link in (await engine.ended(name)).logs] == ["stdout", "stderr"]
    await engine.run("refuse", "r")
    failure = (await engine.ended("r")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.USER, "USER:RuntimeError", False)
    assert "not with me" in failure.message
    await engine.until(lambda: bool(engine.log("t2", "stderr")))
    assert engine.log("t1", "stdout") == engine.log("t2", "stdout") == "to the output\n"
    assert engine.log("t1", "stderr") == "to the error output\n"


async def test_much_output(installation: Installation) -> None:
    """It comes in messages of bounded size, and what is too long is cut off; the task itself is not held up."""
    engine = await installation.engine(log_bytes_max=40 << 20)
    await installation.worker("--slots", "1")
    await engine.run("chatter", "c", integer(size=90 << 20))
    assert result(await engine.ended("c")) == 90 << 20
    await engine.until(lambda: "[wingbeat: what follows was left out" in engine.log("c", "stdout")[-100:])
    assert len(engine.log("c", "stdout")) < 42 << 20


async def test_output_without_end(installation: Installation) -> None:
    """No more of it is read than is kept, so the worker has time for others."""
    engine = await installation.engine(log_bytes_max=1 << 20)
    await installation.worker("--slots", "1")
    await engine.run("boast", "b")
    assert result(await engine.ended("b")) == 0
    await engine.run("increment", "next", integer(value=1))
    assert result(await engine.ended("next")) == 2


async def test_output_is_seen_while_a_task_runs_and_an_abort_ends_it(installation: Installation) -> None:
    """A task that runs for a while is told as started, with its log; an aborted one makes room for the next."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    await engine.run("linger", "long")
    await engine.started("long")
    await engine.until(lambda: engine.log("long", "stdout") == "lingering\n")
    await engine.pool.abort(["long"])
    await engine.run("increment", "next", integer(value=1))
    assert result(await engine.ended("next")) == 2
    assert not any(isinstance(event, Ended) and event.name == "long" for event in engine.events)


async def test_a_process_is_replaced_when_it_should_be(installation: Installation) -> None:
    """After so many tasks, when memory has grown, when a thread was left, and not before."""
    engine = await installation.engine()
    await installation.worker("--slots", "1", "--recycle-tasks", "3", "--recycle-memory", "20Mi")

    async def pid(task: str, name: str) -> int | str:
        await engine.run(task, name)
        return result(await engine.ended(name))

    first = [await pid("process", f"a{number}") for number in range(4)]
    assert first[0] == first[1] == first[2] != first[3]
    leaker = await pid("leak_a_thread", "leak")
    assert leaker == first[3] != await pid("process", "b")
    before = await pid("grow", "g0")  # the second task of its process
    assert await pid("grow", "g1") == before
    growing = [await pid("grow", f"h{number}") for number in range(3)]
    assert len(set(growing)) == 1
    assert before != growing[0]


async def test_memory_that_is_kept_replaces_a_process(installation: Installation) -> None:
    """A process that has grown too much is replaced long before it has run its tasks."""
    engine = await installation.engine()
    await installation.worker("--slots", "1", "--recycle-memory", "12Mi")
    pids: list[int | str] = []
    for number in range(4):
        await engine.run("grow", f"g{number}")
        pids.append(result(await engine.ended(f"g{number}")))
    assert len(set(pids)) > 1


async def test_tasks_do_not_find_files_of_others(installation: Installation) -> None:
    """The working folder and the scratch space are as a task of its own process would find them."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    for name in ("a", "b"):
        await engine.run("leave_files", name)
        assert result(await engine.ended(name)) == ""


async def test_a_process_that_a_task_leaves_ends_with_it(installation: Installation) -> None:
    """As in a container: it does not live on beside the tasks that come."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    await engine.run("leak_a_process", "leak")
    pid = int(result(await engine.ended("leak")))
    await engine.until(lambda: not psutil.pid_exists(pid))
    await engine.run("increment", "next", integer(value=1))
    assert result(await engine.ended("next")) == 2


async def test_tasks_find_signals_as_others_did(installation: Installation) -> None:
    """Neither a handler nor an alarm that a task has set meets the next one, and files are made as it was before."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    for name in ("a", "b"):
        await engine.run("disturb", name)
    first, second = [result(await engine.ended(name)) for name in ("a", "b")]
    assert str(first).startswith("[true, 0, ")
    assert first == second


async def test_a_report_counts_though_its_process_ends_at_once(installation: Installation) -> None:
    """The worker hears of both at the same time."""
    engine = await installation.engine(lease_s=60.0)
    worker = await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    await engine.run("end_with_the_report", "a", text(path=str(gate)))
    await engine.until(lambda: engine.log("a", "stdout").endswith("\n"))
    worker.send_signal(signal.SIGSTOP)
    gate.touch()
    pid = int(engine.log("a", "stdout"))
    await engine.until(lambda: not psutil.pid_exists(pid))
    worker.send_signal(signal.SIGCONT)
    assert result(await engine.ended("a")) == "x" * 60_000


async def test_a_large_environment(installation: Installation) -> None:
    """A task has it, however many variables that are."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    await engine.run("process", "a", env={f"LARGE{number}": "x" * 60_000 for number in range(8)})
    assert isinstance(result(await engine.ended("a")), int)


async def test_a_crash_fails_its_task_alone(installation: Installation) -> None:
    """The user's retries are spent on it, and the next task runs."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    await engine.run("crash", "c")
    failure = (await engine.ended("c")).failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == (ErrorKind.USER, True)
    assert "SIGSEGV" in failure.message
    await engine.run("increment", "next", integer(value=1))
    assert result(await engine.ended("next")) == 2


async def test_limits_of_time_and_memory(installation: Installation) -> None:
    """A task that exceeds one is ended and says which."""
    engine = await installation.engine()
    await installation.worker("--slots", "2")
    await engine.run("linger", "slow", timeout_s=0.3)
    await engine.run("swallow", "big", memory_limit_bytes=200 << 20)
    codes: dict[str, str] = {}
    for name in ("slow", "big"):
        failure = (await engine.ended(name)).failure
        assert failure is not None
        codes[name] = failure.code
    assert codes == {"slow": "TimeoutExpired", "big": "OOMKilled"}


async def test_a_killed_worker(installation: Installation) -> None:
    """Its tasks have failed for the system's reasons once its lease is over, nothing of them lives on, and another
    worker runs them."""
    engine = await installation.engine(lease_s=SHORT_LEASE_S)
    worker = await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    await engine.run("wait_for", "a", text(path=str(gate)))
    await engine.until(lambda: engine.log("a", "stdout") == "waiting\n")
    worker.kill()
    failure = (await engine.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.SYSTEM, "WorkerLost", True)
    await installation.worker("--slots", "1")
    gate.touch()
    await engine.run("wait_for", "a-1", text(path=str(gate)))
    assert isinstance(result(await engine.ended("a-1")), int)


async def test_a_stopped_worker_that_comes_back(installation: Installation) -> None:
    """A worker that slept past its lease can report nothing of what it ran, and takes new tasks like any other."""
    engine = await installation.engine(lease_s=SHORT_LEASE_S)
    worker = await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    await engine.run("wait_for", "a", text(path=str(gate)))
    await engine.until(lambda: engine.log("a", "stdout") == "waiting\n")
    worker.send_signal(signal.SIGSTOP)
    failure = (await engine.ended("a")).failure
    assert failure is not None
    assert failure.code == "WorkerLost"
    gate.touch()  # the task itself was not stopped, and ends well now
    worker.send_signal(signal.SIGCONT)
    await engine.run("increment", "b", integer(value=1))
    assert result(await engine.ended("b")) == 2
    assert len([event for event in engine.events if isinstance(event, Ended) and event.name == "a"]) == 1


async def test_a_worker_drains(installation: Installation) -> None:
    """On SIGTERM it takes nothing more, lets what runs end well, and ends with status 0."""
    engine = await installation.engine()
    worker = await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    await engine.run("wait_for", "a", text(path=str(gate)))
    await engine.until(lambda: engine.log("a", "stdout") == "waiting\n")
    worker.terminate()
    await engine.until(lambda: not engine.lane)
    gate.touch()
    assert isinstance(result(await engine.ended("a")), int)
    async with asyncio.timeout(60):
        assert await worker.wait() == 0


async def test_a_drain_has_an_end(installation: Installation) -> None:
    """What still runs then is ended, for a reason of the system's, so that it runs elsewhere."""
    engine = await installation.engine()
    worker = await installation.worker("--slots", "1", "--drain-s", "0")
    await engine.run("linger", "a")
    await engine.until(lambda: engine.log("a", "stdout") == "lingering\n")
    worker.terminate()
    failure = (await engine.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.SYSTEM, "Interrupted", True)
    async with asyncio.timeout(60):
        assert await worker.wait() == 0


async def test_another_engine_goes_on_with_what_runs(installation: Installation) -> None:
    """When an engine ends without a word, the next one finds its attempts in the workers: one that runs and one that
    has ended meanwhile, and neither runs twice."""
    first = await installation.engine()
    await installation.worker("--slots", "2")
    gate = installation.folder / "gate"
    await first.run("wait_for", "running", text(path=str(gate)))
    await first.run("process", "ended")
    pid = result(await first.ended("ended"))
    await first.until(lambda: first.log("running", "stdout") == "waiting\n")
    await first.stop()
    installation.engines.clear()
    second = await installation.engine()
    second.term = 2
    await second.until(lambda: bool(second.lane))
    assert sorted(await second.pool.adopt(["running", "ended", "never"])) == ["ended", "running"]
    assert result(await second.ended("ended")) == pid
    gate.touch()
    assert isinstance(result(await second.ended("running")), int)


async def test_engines_share_the_slots_of_a_worker(installation: Installation) -> None:
    """Two engines give a worker no more than it has slots for, and each is told what the other one uses."""
    one, two = await installation.engine(), await installation.engine()
    await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    await one.run("wait_for", "a", text(path=str(gate)))
    await two.until(lambda: bool(two.lane) and two.pool.capacity(two.lane) == 0)
    gate.touch()
    await one.ended("a")
    await two.run("increment", "b", integer(value=1))
    assert result(await two.ended("b")) == 2


async def test_what_one_engine_has_given_too_much_is_given_back(installation: Installation) -> None:
    """Two engines fill the same slot in the same moment: what would wait behind a long task of the other one comes
    back, so that another worker may run it."""
    one, two = await installation.engine(), await installation.engine()
    await installation.worker("--slots", "1")
    gate = installation.folder / "gate"
    for engine, name in ((one, "a"), (two, "b")):
        await engine.until(lambda engine=engine, name=name: bool(engine.lane) and engine.pool.take(engine.lane, name))
    await one.pool.launch([one.request("wait_for", "a", text(path=str(gate)))])
    await one.started("a")
    await two.pool.launch([two.request("increment", "b", integer(value=1))])
    await two.until(lambda: two.returned == ["b"])
    await installation.worker("--slots", "1")
    await two.run("increment", "b", integer(value=1))
    assert result(await two.ended("b")) == 2
    gate.touch()
    await one.ended("a")


async def test_quick_tasks_are_handed_over_ahead(installation: Installation) -> None:
    """A worker whose tasks are quick has the next ones at hand, and gives back what would wait behind a long one."""
    engine = await installation.engine()
    await installation.worker("--slots", "1")
    await engine.until(lambda: bool(engine.lane))
    assert engine.pool.capacity(engine.lane) == 1
    number = 0
    while engine.pool.capacity(engine.lane) == 1:  # the machine decides when one is quick
        number += 1
        await engine.run("increment", f"i{number}", integer(value=1))
        await engine.ended(f"i{number}")
    gate = installation.folder / "gate"
    await engine.run("wait_for", "long", text(path=str(gate)))
    for name in ("a", "b"):
        assert engine.pool.take(engine.lane, name)
        await engine.pool.launch([engine.request("increment", name, integer(value=1))])
    await engine.until(lambda: sorted(engine.returned) == ["a", "b"])
    assert engine.pool.capacity(engine.lane) == 1
    assert not engine.pool.holds("a")
    assert not engine.pool.take(engine.lane, "a")
    gate.touch()
    assert isinstance(result(await engine.ended("long")), int)
    assert not any(event.name in ("a", "b") for event in engine.events)


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/true"])
async def test_an_interpreter_that_cannot_run_tasks(installation: Installation, python: str) -> None:
    """The worker says so and ends, instead of taking tasks that it cannot run."""
    await installation.engine()
    worker = await installation.worker("--python", python)
    async with asyncio.timeout(60):
        assert await worker.wait() == 1


async def test_nothing_is_left_on_the_disk(installation: Installation) -> None:
    """A worker that has ended has removed its scratch space."""
    engine = await installation.engine()
    worker = await installation.worker("--slots", "1")
    await engine.run("increment", "a", integer(value=1))
    await engine.ended("a")
    scratch: Path = installation.folder / "scratch"
    assert os.listdir(scratch)
    worker.terminate()
    async with asyncio.timeout(60):
        await worker.wait()
    assert not os.listdir(scratch)


async def test_a_killed_worker_leaves_no_folder_for_good(installation: Installation) -> None:
    """The next one that starts removes it, and leaves those of living workers alone."""
    engine = await installation.engine()
    scratch = installation.folder / "scratch"
    killed, living = await installation.worker("--slots", "1"), await installation.worker("--slots", "1")
    await engine.until(lambda: engine.pool.capacity(engine.lane) == 2)
    killed.kill()
    await killed.wait()
    before = set(scratch.iterdir())
    assert len(before) == 2
    await installation.worker("--slots", "2")
    await engine.until(lambda: len(set(scratch.iterdir()) & before) == 1)
    await engine.run("increment", "a", integer(value=1))
    assert result(await engine.ended("a")) == 2
    living.terminate()
    assert await living.wait() == 0
    assert not set(scratch.iterdir()) & before
