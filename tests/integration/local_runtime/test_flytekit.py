"""Tasks of the real flytekit, run by forks of a task host."""

import sys
import tarfile
from pathlib import Path

import pytest
from flyteidl.core import errors_pb2, literals_pb2
from tests.integration.local_runtime.conftest import Follower, FollowRuntime

from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import log_file, task_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import read_claim

CODE = """
import os
import sys
from flytekit import current_context, task
from flytekit.types.file import FlyteFile

@task
def shout(text: str) -> str:
    print("working on", text)
    return text.upper()

@task
def write(text: str) -> FlyteFile:
    with open("out.txt", "w") as file:
        file.write(text)
    return FlyteFile("out.txt")

@task
def where(text: str) -> list[str]:
    return [os.getcwd(), __file__, current_context().working_directory, os.environ["TMPDIR"], sys.argv[0],
            str("marker" in sys.modules)]

@task
def fail(text: str) -> str:
    raise ValueError("no such luck")

@task
def leave(text: str) -> str:
    sys.exit(4)
"""


class Task:
    """Arguments and results of one attempt of a task in CODE."""

    def __init__(self, folder: Path, name: str, task: str) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        inputs = literals_pb2.LiteralMap()
        inputs.literals["text"].scalar.primitive.string_value = name
        (self._folder / "inputs.pb").write_bytes(inputs.SerializeToString())
        self.argv = [
            "pyflyte-execute",
            "--inputs", f"file://{self._folder}/inputs.pb",
            "--output-prefix", f"file://{self._folder}/outputs",
            "--raw-output-data-prefix", f"file://{folder}/raw",
            "--checkpoint-path", f"file://{folder}/raw/_flytecheckpoints",
            "--prev-checkpoint", '""',
            "--resolver", "flytekit.core.python_auto_container.default_task_resolver",
            "--", "task-module", "program", "task-name", task,
        ]  # fmt: skip

    def request(self, env: dict[str, str]) -> ContainerRequest:
        """Run it where the code can be imported by `env`."""
        return ContainerRequest(self.name, "cr.flyte.org/flyteorg/flytekit:py3.11", self.argv, env)

    def fast_request(self, distribution: Path, destination: str) -> ContainerRequest:
        """Run it with the code from an archive."""
        head = ["pyflyte-fast-execute", "--additional-distribution", f"file://{distribution}"]
        return ContainerRequest(self.name, "any", [*head, "--dest-dir", destination, "--", *self.argv], {})

    def output(self) -> literals_pb2.Literal:
        """What the task returned."""
        return literals_pb2.LiteralMap.FromString((self._folder / "outputs/outputs.pb").read_bytes()).literals["o0"]

    def error(self) -> errors_pb2.ContainerError:
        """What flytekit wrote about its failure."""
        return errors_pb2.ErrorDocument.FromString((self._folder / "outputs/error.pb").read_bytes()).error


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Environment in which CODE can be imported as `program`."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/program.py").write_text(CODE)
    return {"PYTHONPATH": str(tmp_path / "code")}


async def _run(follower: Follower, *requests: ContainerRequest) -> None:
    await follower.runtime.launch(requests)
    for request in requests:
        end = await follower.ended(request.name)
        assert end.failure is None, end.failure


async def test_tasks_run_in_forks_of_one_host(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, env: dict[str, str]
) -> None:
    """Tasks run, print to their own logs, and are forked by a host that is not the plain one."""
    tasks = [Task(tmp_path, f"t{index}", "shout") for index in range(3)]
    async with follow(flytekit_options) as follower:
        await _run(follower, *(task.request(env) for task in tasks))
    assert [task.output().scalar.primitive.string_value for task in tasks] == ["T0", "T1", "T2"]
    state = flytekit_options.state_dir
    assert "working on t1" in log_file(state, "t1", "stdout").read_text()
    claim = read_claim(str(task_folder(state, "t1")))
    assert claim is not None
    assert claim.host != "plain"


async def test_forks_do_not_share_random_state(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, env: dict[str, str]
) -> None:
    """Files that two tasks write at the same time get different names in the shared raw folder."""
    tasks = [Task(tmp_path, f"t{index}", "write") for index in range(4)]
    async with follow(flytekit_options) as follower:
        await _run(follower, *(task.request(env) for task in tasks))
    uris = {task.output().scalar.blob.uri for task in tasks}
    assert len(uris) == len(tasks)
    assert {Path(uri.removeprefix("file://")).read_text() for uri in uris} == {task.name for task in tasks}


@pytest.mark.parametrize("destination", [".", "/opt/flyte-code", "/somewhere/else"])
async def test_fast_registered_code_is_unpacked_into_the_working_folder(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, destination: str
) -> None:
    """Whatever folder of its image a task names, nothing is written outside its own folders."""
    (tmp_path / "program.py").write_text(CODE)
    archive = tmp_path / "fast.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "program.py", "program.py")
    task = Task(tmp_path, "t", "where")
    async with follow(flytekit_options) as follower:
        await _run(follower, task.fast_request(archive, destination))
    folder = task_folder(flytekit_options.state_dir, "t")
    working, module, scratch, temporary, program, loaded = (
        literal.scalar.primitive.string_value for literal in task.output().collection.literals
    )
    assert working == str(folder / "work")
    assert module == str(folder / "work/program.py")
    assert scratch.startswith(str(folder / "tmp"))
    assert temporary == str(folder / "tmp")
    assert Path(program).name == "pyflyte-execute"
    assert loaded == "False"
    assert not Path("/opt/flyte-code").exists()
    assert not Path("/somewhere").exists()


async def test_interpreter_variables_are_honoured(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, env: dict[str, str]
) -> None:
    """A task that sets what an interpreter reads at its start gets an interpreter of its own."""
    task = Task(tmp_path, "t", "shout")
    async with follow(flytekit_options) as follower:
        await _run(follower, task.request({**env, "PYTHONHASHSEED": "0"}))
    assert task.output().scalar.primitive.string_value == "T"
    claim = read_claim(str(task_folder(flytekit_options.state_dir, "t")))
    assert claim is not None
    assert claim.host == "plain"


async def test_user_errors_are_left_to_the_error_file(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, env: dict[str, str]
) -> None:
    """An exception of user code is no failure of the process: flytekit reports it by file and exits with 0."""
    task = Task(tmp_path, "t", "fail")
    async with follow(flytekit_options) as follower:
        await _run(follower, task.request(env))
    assert "no such luck" in task.error().message


async def test_exit_code_of_user_code_counts(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions, tmp_path: Path, env: dict[str, str]
) -> None:
    """`sys.exit(4)` in a fork is the same as in a process of its own."""
    async with follow(flytekit_options) as follower:
        await follower.runtime.launch([Task(tmp_path, "t", "leave").request(env)])
        failure = (await follower.ended("t")).failure
    assert failure is not None
    assert "exit code 4" in failure.message


def _environment(folder: Path, python: str) -> str:
    """Image name of an environment whose flytekit program runs under the script `python`."""
    (folder / "bin").mkdir(parents=True)
    for name, text in (
        ("python", python),
        ("pyflyte-execute", f"#!{folder}/bin/python\nfrom flytekit.bin.entrypoint import execute_task_cmd\n"),
    ):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return f"local:{folder}"


async def test_an_environment_without_flytekit_says_so(follow: FollowRuntime, tmp_path: Path) -> None:
    """What is wrong with an environment is in the log of the task, as if its program had been run by hand."""
    image = _environment(tmp_path / "venv", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    async with follow() as follower:
        await follower.runtime.launch([ContainerRequest("t", image, ["pyflyte-execute"], {})])
        failure = (await follower.ended("t")).failure
    assert failure is not None
    assert "No module named 'flytekit'" in failure.message


async def test_an_interpreter_that_does_not_run_fails_the_task(follow: FollowRuntime, tmp_path: Path) -> None:
    """A host that never comes up is given up after a while, with what it said."""
    image = _environment(tmp_path / "venv", "#!/bin/sh\necho broken beyond repair >&2; exit 1\n")
    async with follow() as follower:
        await follower.runtime.launch([ContainerRequest("t", image, ["pyflyte-execute"], {})])
        failure = (await follower.ended("t")).failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.SYSTEM, "TaskHostFailed", True)
    assert "broken beyond repair" in failure.message


async def test_wrong_arguments_end_like_the_installed_script(
    follow: FollowRuntime, flytekit_options: LocalRuntimeOptions
) -> None:
    """A usage error exits with 2 and says in the log what is wrong."""
    async with follow(flytekit_options) as follower:
        await follower.runtime.launch([ContainerRequest("t", "any", ["pyflyte-execute", "--bogus"], {})])
        failure = (await follower.ended("t")).failure
    assert failure is not None
    assert "exit code 2" in failure.message
    assert "--bogus" in failure.message
