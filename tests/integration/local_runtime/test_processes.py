"""Programs that are executed: what they get, how they end."""

import asyncio
import json
import os
import select
import sys
from pathlib import Path

import psutil
import pytest
from tests.integration.local_runtime.conftest import FollowRuntime, shell_request

from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.tasks import ContainerRequest, InstantRequest
from wingbeat_propeller.runtimes.local import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import host_folder, log_file, task_folder


async def test_output_goes_to_log_files(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """A program's two streams are separate files, and both ends of its life carry links to them."""
    async with follow() as follower:
        await follower.shell("a-n0-0", "echo out; echo err >&2")
        end = await follower.ended("a-n0-0")
        assert end.failure is None
        assert log_file(options.state_dir, "a-n0-0", "stdout").read_text() == "out\n"
        assert log_file(options.state_dir, "a-n0-0", "stderr").read_text() == "err\n"
        assert [link.uri for link in (await follower.started("a-n0-0")).logs] == [
            "http://localhost/logs/a-n0-0/stdout.log",
            "http://localhost/logs/a-n0-0/stderr.log",
        ]


async def test_arguments_and_environment_arrive_unchanged(
    follow: FollowRuntime, options: LocalRuntimeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty and odd arguments survive; the environment holds what was asked for and nothing of the server's."""
    monkeypatch.setenv("SERVER_SECRET", "x")
    async with follow() as follower:
        code = "import json,os,sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
        argv = [sys.executable, "-c", code, "", "a b", "ü\n'\""]
        await follower.runtime.launch([ContainerRequest("a", "any", argv, {"MINE": "1 2", "LANG": "C.UTF-8"})])
        assert (await follower.ended("a")).failure is None
    args, env, folder = json.loads(log_file(options.state_dir, "a", "stdout").read_text())
    mine = task_folder(options.state_dir, "a")
    assert args == ["", "a b", "ü\n'\""]
    assert env["MINE"] == "1 2"
    assert env["FLYTE_STATSD_DISABLED"] == "1"
    assert env["HOME"] == str(mine / "home")
    assert env["TMPDIR"] == str(mine / "tmp")
    assert "SERVER_SECRET" not in env
    assert folder == str(mine / "work")


async def test_exit_code_is_a_user_error_with_the_last_lines(follow: FollowRuntime) -> None:
    """A failing program is retried on the user's account and its last words are in the message."""
    async with follow() as follower:
        await follower.shell("a", "echo no such luck >&2; exit 3")
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.USER, "Error", True)
    assert "exit code 3" in failure.message
    assert "no such luck" in failure.message


@pytest.mark.parametrize("script", ["kill -KILL $$", "kill -TERM $$", "exit 137", "exit 247"])
async def test_end_from_outside_is_a_system_error(follow: FollowRuntime, script: str) -> None:
    """A killed program did nothing wrong: the system's retries count, not the user's."""
    async with follow() as follower:
        await follower.shell("a", script)
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.SYSTEM, "Interrupted", True)


async def test_missing_program_fails_for_good(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """No retry mends a missing program; the message says what was looked for, where, and how to map an image."""
    async with follow() as follower:
        await follower.runtime.launch([ContainerRequest("a", "ghcr.io/me/app:1", ["no-such-program"], {})])
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == (ErrorKind.USER, False)
    for part in ("no-such-program", "ghcr.io/me/app:1", options.path, "local:/path/to/venv"):
        assert part in failure.message


async def test_image_names_an_environment(follow: FollowRuntime, tmp_path: Path) -> None:
    """`local:` images run the programs of their environment, which also comes first on the program's own PATH."""
    program = tmp_path / "venv/bin/greet"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$VIRTUAL_ENV" >&2; exit 9\n')
    program.chmod(0o755)
    async with follow() as follower:
        await follower.runtime.launch([ContainerRequest("a", f"local:{tmp_path}/venv", ["greet"], {})])
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert "exit code 9" in failure.message
    assert f"{tmp_path}/venv" in failure.message


async def test_timeout_kills_and_counts_as_the_users(follow: FollowRuntime) -> None:
    """A program that takes too long is ended, also when it does not listen to the polite signal."""
    async with follow() as follower:
        await follower.shell("a", "trap '' TERM; while :; do sleep 1; done", timeout_s=0.3)
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.USER, "TimeoutExpired", True)
    assert "0.3s" in failure.message


async def test_memory_limit_covers_the_whole_session(follow: FollowRuntime) -> None:
    """Memory of all processes of a task counts; the message names limit and use."""
    async with follow() as follower:
        argv = ["sh", "-c", f"{sys.executable} -c 'import time; x = bytearray(200 << 20); time.sleep(60)' & wait"]
        await follower.runtime.launch([ContainerRequest("a", "any", argv, {}, memory_limit_bytes=100 << 20)])
        failure = (await follower.ended("a")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.USER, "OOMKilled", True)
    assert "100 MiB" in failure.message


async def test_abort_reaches_grandchildren_of_other_groups(follow: FollowRuntime, tmp_path: Path) -> None:
    """Everything that an aborted task started is gone, and nothing is reported of it."""
    marker = tmp_path / "pids"
    os.mkfifo(marker)
    script = f"set -m; sh -c 'trap \"\" TERM; echo $$ > {marker}; while :; do sleep 60; done' & wait"
    async with follow() as follower:
        await follower.shell("a", script)
        pid = int(await _read(marker))
        await follower.runtime.abort(["a", "never-launched"])
        await _gone(pid)
        await follower.shell("b", "true")
        await follower.ended("b")
        assert not [event for event in follower.events if event.name == "a" and hasattr(event, "failure")]


async def test_what_a_task_leaves_running_ends_with_it(follow: FollowRuntime, tmp_path: Path) -> None:
    """As in a container, the end of the program is the end of its background processes."""
    marker = tmp_path / "pids"
    os.mkfifo(marker)
    async with follow() as follower:
        await follower.shell("a", f"sleep 600 & echo $! > {marker}")
        pid = int(await _read(marker))
        await follower.ended("a")
        await _gone(pid)


async def test_so_do_daemons(follow: FollowRuntime, tmp_path: Path) -> None:
    """Neither a session nor a process group of its own lets a process outlive its task, and none ends before it."""
    marker, gate = tmp_path / "pids", tmp_path / "gate"
    os.mkfifo(marker)
    os.mkfifo(gate)
    daemons = "(setsid sleep 600 & echo $!; timeout 600 sleep 600 & echo $!) > pids"
    async with follow() as follower:
        await follower.shell("a", f"{daemons}; cat pids > {marker}; read x < {gate}")
        pids = [int(word) for word in (await _read(marker)).split()]
        await follower.shell("b", "true")
        await follower.ended("b")
        assert all(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
        await asyncio.to_thread(gate.write_text, "go\n")
        assert (await follower.ended("a")).failure is None
        for pid in pids:
            await _gone(pid)


@pytest.mark.parametrize(
    "prank",
    [
        'rm -rf "$(dirname "$PWD")"',
        "mkdir -p ../exit.json/x",
        "rm ../stderr.log && mkfifo ../stderr.log ../exit.json",
        "rm ../stderr.log && mkdir ../stderr.log",
    ],
)
async def test_a_task_that_spoils_its_record(follow: FollowRuntime, options: LocalRuntimeOptions, prank: str) -> None:
    """It ends as any other, and its host goes on."""
    async with follow() as follower:
        await follower.shell("before", "true")
        await follower.ended("before")
        socket = (host_folder(options.state_dir, "plain") / "socket").stat()
        await follower.shell("a", f"{prank}; exit 3")
        failure = (await follower.ended("a")).failure
        assert failure is not None
        assert "exit code 3" in failure.message
        await follower.shell("b", "true")
        assert (await follower.ended("b")).failure is None
        assert (host_folder(options.state_dir, "plain") / "socket").stat() == socket
        await follower.runtime.forget(["a"])
        assert await follower.runtime.adopt(["a"]) == []


async def test_launching_twice_runs_once(follow: FollowRuntime, tmp_path: Path) -> None:
    """A repeated launch tells the state again, while the attempt runs and after it ended."""
    marker = tmp_path / "runs"
    async with follow() as follower:
        request = shell_request("a", f"echo run >> {marker}")
        await follower.runtime.launch([request, request])
        await follower.ended("a")
        follower.events.clear()
        await follower.runtime.launch([request])
        assert (await follower.ended("a")).failure is None
    assert marker.read_text() == "run\n"


async def test_forgetting_keeps_the_logs_alone(follow: FollowRuntime, options: LocalRuntimeOptions) -> None:
    """What only adoption needs is removed, with the working folders; what a person may read stays."""
    async with follow() as follower:
        await follower.shell("a", "echo hello; touch file $TMPDIR/file")
        await follower.ended("a")
        await follower.runtime.forget(["a"])
        assert await follower.runtime.adopt(["a"]) == []
    kept = sorted(path.name for path in task_folder(options.state_dir, "a").iterdir())
    assert kept == ["stderr.log", "stdout.log"]


async def test_instant_requests_need_no_process(follow: FollowRuntime) -> None:
    """A request that brings its own outputs is answered at once."""
    async with follow() as follower:
        await follower.runtime.launch([InstantRequest("a", outputs=b"\x0a\x00")])
        end = await follower.ended("a")
    assert (end.failure, end.outputs) == (None, b"\x0a\x00")


async def _read(fifo: Path) -> str:
    return await asyncio.to_thread(fifo.read_text)


async def _gone(pid: int) -> None:
    """Wait for the end of a process by the kernel's word."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready = await asyncio.to_thread(select.select, [descriptor], [], [], 30)
        assert ready[0], "the process still runs"
    finally:
        os.close(descriptor)
