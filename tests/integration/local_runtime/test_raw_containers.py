"""Raw containers as the local runtime runs them: copying belongs to the attempt, and so do its limits and its end."""

import asyncio
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from tests.integration.local_runtime.conftest import FollowRuntime, shell_request

from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import log_file, task_folder

RawRequest = Callable[..., ContainerRequest]


@pytest.fixture
def raw_options(options: LocalRuntimeOptions, tmp_path: Path) -> LocalRuntimeOptions:
    """Options that name a folder of blobs."""
    return dataclasses.replace(options, store={"folder": str(tmp_path / "blobs")})


@pytest.fixture
def raw_request(tmp_path: Path) -> RawRequest:
    """Makes a raw container that runs a shell script with an input `n` of 20 and an output `x` of type integer."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=20)))
    (blobs / "inputs.pb").write_bytes(literals_pb2.LiteralMap(literals={"n": literal}).SerializeToString())
    variable = interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.INTEGER))

    def make(name: str, script: str, env: Mapping[str, str] | None = None, **limits: float | None) -> ContainerRequest:
        files = ContainerFiles(
            input_path="/var/inputs",
            output_path="/var/outputs",
            format="json",
            inputs_uri=f"{blobs}/inputs.pb",
            output_prefix=f"{blobs}/{name}",
            raw_output_prefix=f"{blobs}/raw/{name}",
            outputs=interface_pb2.VariableMap(variables={"x": variable}).SerializeToString(),
        )
        return shell_request(name, script, dict(env or {}), **limits)._replace(files=files)

    return make


async def test_inputs_program_outputs(
    follow: FollowRuntime, raw_options: LocalRuntimeOptions, raw_request: RawRequest, tmp_path: Path
) -> None:
    """The program runs in the attempt's working folder with the attempt's environment and logs; its files go with the
    attempt when it is forgotten."""
    script = "pwd; echo $HOME $MINE; echo $(( $(cat /var/inputs/n) + 1 )) > /var/outputs/x"
    async with follow(raw_options) as follower:
        await follower.runtime.launch([raw_request("a", script, {"MINE": "m", "PYTHONHOME": "/nowhere"})])
        assert (await follower.ended("a")).failure is None
        outputs = literals_pb2.LiteralMap.FromString((tmp_path / "blobs/a/outputs.pb").read_bytes()).literals
        assert outputs["x"].scalar.primitive.integer == 21
        folder = task_folder(raw_options.state_dir, "a")
        assert log_file(raw_options.state_dir, "a", "stdout").read_text() == f"{folder}/work\n{folder}/home m\n"
        assert (folder / "files").exists()
        await follower.runtime.forget(["a"])
    assert sorted(path.name for path in folder.iterdir()) == ["stderr.log", "stdout.log"]


async def test_failure_of_the_program(
    follow: FollowRuntime, raw_options: LocalRuntimeOptions, raw_request: RawRequest
) -> None:
    """Exit codes and signals of the program are those of the attempt; an unknown program is explained."""
    async with follow(raw_options) as follower:
        missing = raw_request("c", "")._replace(argv=["no-such-program"])
        await follower.runtime.launch(
            [raw_request("a", "echo no luck >&2; exit 3"), raw_request("b", "kill -KILL $$"), missing]
        )
        exited, killed, absent = [(await follower.ended(name)).failure for name in ("a", "b", "c")]
    assert exited is not None
    assert (exited.kind, exited.code) == (ErrorKind.USER, "Error")
    assert "exit code 3" in exited.message
    assert "no luck" in exited.message
    assert killed is not None
    assert (killed.kind, killed.code) == (ErrorKind.SYSTEM, "Interrupted")
    assert absent is not None
    assert absent.code == "ProgramNotFound"


async def test_limits(follow: FollowRuntime, raw_options: LocalRuntimeOptions, raw_request: RawRequest) -> None:
    """Time and memory of the program are limited; the copilot has memory of its own."""
    hungry = "exec python3 -c 'x = b\"x\" * (400 << 20)\nwhile True: pass'"
    small = "echo 1 > /var/outputs/x"
    async with follow(raw_options) as follower:
        await follower.runtime.launch(
            [
                raw_request("a", "exec sleep 1000", timeout_s=0.5),
                raw_request("b", hungry, memory_limit_bytes=64 << 20),
                raw_request("c", small, memory_limit_bytes=32 << 20),
            ]
        )
        late, large, fine = [(await follower.ended(name)).failure for name in ("a", "b", "c")]
    assert late is not None
    assert late.code == "TimeoutExpired"
    assert large is not None
    assert large.code == "OOMKilled"
    assert fine is None


async def test_abort_ends_the_program(
    follow: FollowRuntime, raw_options: LocalRuntimeOptions, raw_request: RawRequest, tmp_path: Path
) -> None:
    """An abort reaches the program, not only the copilot, and nothing is copied out afterwards."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    script = f"echo 1 > /var/outputs/x; echo $$ > {ready}; exec sleep 1000"
    async with follow(raw_options) as follower:
        await follower.runtime.launch([raw_request("a", script)])
        await follower.started("a")
        descriptor = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
        pid = int(await _line(descriptor))
        os.close(descriptor)
        await follower.runtime.abort(["a"])
        await follower.runtime.launch(
            [raw_request("b", f"while kill -0 {pid} 2>/dev/null; do sleep 0.01; done; exit 5")]
        )
        failure = (await follower.ended("b")).failure
    assert failure is not None
    assert "exit code 5" in failure.message
    assert not (tmp_path / "blobs/a").exists()


async def _line(descriptor: int) -> str:
    """What a program writes into a pipe that is open already."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(descriptor, arrived.set)
    try:
        while True:
            arrived.clear()
            try:
                data = os.read(descriptor, 100)
            except BlockingIOError:
                data = b""
            if data.endswith(b"\n"):
                return data.decode()
            await asyncio.wait_for(arrived.wait(), 60)
    finally:
        loop.remove_reader(descriptor)


async def test_a_program_among_the_inputs(
    follow: FollowRuntime, raw_options: LocalRuntimeOptions, raw_request: RawRequest, tmp_path: Path
) -> None:
    """A command below the path of the inputs is one of them, and is not looked for on this machine."""
    script = tmp_path / "blobs/script"
    script.write_text("#!/bin/sh\necho 7 > $WINGBEAT_OUTPUT_PATH/x\n")
    blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=str(script))))
    inputs = literals_pb2.LiteralMap(literals={"script": blob}).SerializeToString()
    (tmp_path / "blobs/inputs.pb").write_bytes(inputs)
    async with follow(raw_options) as follower:
        await follower.runtime.launch([raw_request("a", "")._replace(argv=["/var/inputs/script"])])
        assert (await follower.ended("a")).failure is None
    outputs = literals_pb2.LiteralMap.FromString((tmp_path / "blobs/a/outputs.pb").read_bytes()).literals
    assert outputs["x"].scalar.primitive.integer == 7
