"""Recovering with mended code: a program is registered as a user does it, in two versions, and recovered by command."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.client import Client, phase, succeeded
from tests.e2e.installation import BIN, Installation

PROGRAM = '''
"""A program of two versions; each task leaves a line with its name."""

from flytekit import LaunchPlan, dynamic, task, workflow

BROKEN = {broken}


def leave(folder: str, name: str) -> None:
    with open(f"{{folder}}/lines", "a") as lines:
        lines.write(name + "\\n")


@task
def load(folder: str) -> int:
    leave(folder, "load")
    return {loaded}


@task
def clean(folder: str, number: int) -> int:
    leave(folder, "clean")
    if BROKEN == "clean":
        raise ValueError("clean is broken")
    return number + {added}


@task
def train(folder: str, number: int) -> int:
    leave(folder, "train")
    if BROKEN == "train":
        raise ValueError("train is broken")
    return number * 2


@workflow
def prepare_wf(folder: str) -> int:
    return clean(folder=folder, number=load(folder=folder))


prepare_plan = LaunchPlan.get_or_create(prepare_wf, name="{module}.prepare_plan")


@workflow
def nested_wf(folder: str) -> int:
    return train(folder=folder, number=prepare_wf(folder=folder))


@workflow
def launching_wf(folder: str) -> int:
    return train(folder=folder, number=prepare_plan(folder=folder))


@dynamic
def steps(folder: str) -> int:
    leave(folder, "steps")
    return train(folder=folder, number=clean(folder=folder, number=load(folder=folder)))


@workflow
def dynamic_wf(folder: str) -> int:
    return steps(folder=folder)
'''


class Program:
    """The program in a folder of its own, under a name that no other test uses."""

    def __init__(self, installation: Installation, client: Client, folder: Path, module: str) -> None:
        self._installation = installation
        self._client = client
        self._folder = folder
        self.module = module

    def register(self, version: str, *, broken: str = "", added: int = 1, loaded: int = 1) -> None:
        """Write the program and register it, with its code, as `pyflyte register` does."""
        code = self._folder / "code"
        code.mkdir(exist_ok=True)
        text = PROGRAM.format(broken=repr(broken), added=added, loaded=loaded, module=self.module)
        (code / f"{self.module}.py").write_text(text)
        command = [BIN / "pyflyte", "--config", str(self._installation.client_config), "register"]
        done = subprocess.run(
            [*command, "--project", "flytesnacks", "--version", version, f"{self.module}.py"],
            cwd=code,
            env={**os.environ, "COLUMNS": "400"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def fail(self, workflow: str, version: str) -> str:
        """Run a workflow of a version that is broken; the name of the execution."""
        found = self._client.remote.fetch_workflow(name=f"{self.module}.{workflow}", version=version)
        execution = self._client.wait(self._client.remote.execute(found, inputs={"folder": str(self._folder)}))
        assert phase(execution) == "FAILED"
        return execution.id.name

    def recover(self, execution: str, *flags: str, check: bool = True) -> Any:
        """`wingbeat recover`, to the end of the new execution; what it prints for programs."""
        where = ("--data-dir", str(self._installation.data_dir))
        done = self._installation.wingbeat("recover", execution, *flags, "-o", "json", *where, check=check)
        return json.loads(done.stdout) if check else done

    def outputs(self, name: str) -> int:
        """Of an execution that must have succeeded."""
        execution = self._client.wait(self._client.remote.fetch_execution(name=name), sync_nodes=False)
        return succeeded(execution).outputs["o0"]

    def lines(self) -> Counter[str]:
        """How often each task has run."""
        return Counter((self._folder / "lines").read_text().splitlines())


@pytest.fixture
def program(installation: Installation, client: Client, tmp_path: Path, request: pytest.FixtureRequest) -> Program:
    """A program under the name of the test."""
    return Program(installation, client, tmp_path, request.node.name.replace("test_", "p_"))


def _fates(answer: Any) -> dict[str, tuple[str, str]]:
    return {
        node["nodeId"]: (node["fate"].removeprefix("FATE_"), node["reason"].removeprefix("REASON_"))
        for node in answer["nodes"]
    }


def test_only_what_was_mended_runs(program: Program) -> None:
    """The code of every task has changed; the user names the one that was mended. What it follows is taken over, at any
    depth; a dry run says the same and starts nothing."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    program.register("v2")
    flags = ("--version", "v2", "--rerun", f"{program.module}.train")
    preview = program.recover(failed, *flags, "--dry-run")
    assert "execution" not in preview
    assert preview["version"] == "v2"
    assert _fates(preview) == {
        "n0": ("REUSED", "UNCHANGED"),
        "n1": ("RUNS", "ASKED"),
        "end-node": ("RUNS", "UPSTREAM"),
    }
    assert program.lines() == Counter(["load", "clean", "train"])
    answer = program.recover(failed, *flags, "--watch")
    assert _fates(answer) == _fates(preview)
    assert program.outputs(answer["execution"]["name"]) == 4
    assert program.lines() == Counter(["load", "clean", "train", "train"])


def test_changed_code_runs_by_default(program: Program) -> None:
    """Nobody says which tasks have changed, so all of them may have."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    program.register("v2", added=5)
    answer = program.recover(failed, "--version", "v2", "--watch")
    fates = _fates(answer)
    assert fates["n0"] == ("PARTLY_REUSED", "INSIDE")
    assert fates["n0-0-n0"] == fates["n1"] == ("RUNS", "CODE")
    assert "fast" in next(node["explanation"] for node in answer["nodes"] if node["nodeId"] == "n1")
    assert program.outputs(answer["execution"]["name"]) == 12
    assert program.lines() == Counter(["load", "clean", "train"] * 2)


def test_what_follows_a_changed_task_runs(program: Program) -> None:
    """A task deep inside has changed: it runs, with what follows it, and with the values of the new code."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    program.register("v2", added=5)
    answer = program.recover(failed, "--version", "v2", "--rerun", f"{program.module}.clean", "--watch")
    assert _fates(answer) == {
        "n0": ("PARTLY_REUSED", "INSIDE"),
        "n0-0-n0": ("REUSED", "UNCHANGED"),
        "n0-0-n1": ("RUNS", "ASKED"),
        "n0-0-end-node": ("RUNS", "UPSTREAM"),
        "n1": ("RUNS", "UPSTREAM"),
        "end-node": ("RUNS", "UPSTREAM"),
    }
    assert program.outputs(answer["execution"]["name"]) == 12
    assert program.lines() == Counter(["load", "clean", "clean", "train", "train"])


def test_tasks_that_are_known_to_be_unchanged(program: Program) -> None:
    """The other way round: names of what has not changed, with patterns; the rest counts as changed."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    program.register("v2")
    answer = program.recover(
        failed, "--version", "v2", "--assume-unchanged", "*.load", "--assume-unchanged", "*.clean", "--watch"
    )
    assert _fates(answer)["n0"] == ("REUSED", "UNCHANGED")
    assert program.outputs(answer["execution"]["name"]) == 4
    assert program.lines() == Counter(["load", "clean", "train", "train"])


def test_launch_plans_of_a_new_version(program: Program) -> None:
    """A launch plan whose workflow means the same is taken over although its version is new; one in whose workflow
    something has changed runs, and its execution takes over what is equal."""
    program.register("v1", broken="train")
    failed = program.fail("launching_wf", "v1")
    program.register("v2")
    answer = program.recover(failed, "--version", "v2", "--rerun", "*.train", "--watch")
    assert _fates(answer)["n0"] == ("REUSED", "UNCHANGED")
    assert program.outputs(answer["execution"]["name"]) == 4
    assert program.lines() == Counter(["load", "clean", "train", "train"])
    program.register("v3", added=5)
    answer = program.recover(failed, "--version", "v3", "--rerun", "*.clean", "--watch")
    assert _fates(answer)["n0"] == ("PARTLY_REUSED", "INSIDE")
    assert program.outputs(answer["execution"]["name"]) == 12
    assert program.lines() == Counter(["load", "clean", "clean", "train", "train", "train"])


def test_a_launch_plan_that_failed_is_recovered_with_the_new_version(program: Program) -> None:
    """Its execution takes over what is equal in the one that failed."""
    program.register("v1", broken="clean")
    failed = program.fail("launching_wf", "v1")
    program.register("v2")
    answer = program.recover(failed, "--version", "v2", "--rerun", "*.clean", "--watch")
    assert program.outputs(answer["execution"]["name"]) == 4
    assert program.lines() == Counter(["load", "clean", "clean", "train"])


def test_dynamic_tasks_make_their_workflow_again(program: Program) -> None:
    """With the code of the new version; what is equal in what they make is taken over from what they had made."""
    program.register("v1", broken="train")
    failed = program.fail("dynamic_wf", "v1")
    program.register("v2")
    answer = program.recover(failed, "--version", "v2", "--rerun", "*.train", "--watch")
    assert _fates(answer)["n0"] == ("PARTLY_REUSED", "INSIDE")
    assert program.outputs(answer["execution"]["name"]) == 4
    assert program.lines() == Counter(["steps", "steps", "load", "clean", "train", "train"])
    program.register("v3", added=5)
    again = program.recover(answer["execution"]["name"], "--version", "v3", "--rerun", "*.clean", "--watch")
    assert _fates(again)["n0"] == ("PARTLY_REUSED", "INSIDE")
    assert program.outputs(again["execution"]["name"]) == 12
    assert program.lines() == Counter(["steps"] * 3 + ["load", "clean", "clean"] + ["train"] * 3)


def test_running_a_task_again_in_the_same_version(program: Program) -> None:
    """Named without a version, it runs with what follows it; by name of the task or id of the node. In a dynamic node
    that had succeeded, the task that made its workflow does not."""
    program.register("v1")
    whole = program.recover(_succeed(program, "nested_wf"), "--rerun", "n0-0-n1", "--watch")
    assert program.outputs(whole["execution"]["name"]) == 4
    assert program.lines() == Counter(["load", "clean", "clean", "train", "train"])
    inside = program.recover(_succeed(program, "dynamic_wf"), "--rerun", "*.train", "--watch")
    assert program.outputs(inside["execution"]["name"]) == 4
    assert program.lines() == Counter(["load"] * 2 + ["clean"] * 3 + ["train"] * 4 + ["steps"])


def _succeed(program: Program, workflow: str) -> str:
    remote = program._client.remote
    found = remote.fetch_workflow(name=f"{program.module}.{workflow}", version="v1")
    return succeeded(program._client.wait(remote.execute(found, inputs={"folder": str(program._folder)}))).id.name


def test_requests_that_cannot_be_meant(program: Program) -> None:
    """A name that fits nothing, a version that is not there, two ways of saying it at once: each an error with a
    sentence, and nothing is started."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    for flags, said in (
        (
            ("--rerun", "trian"),
            f"'trian' is no task and no node of the workflow; its tasks are: {program.module}.clean",
        ),
        (("--version", "v9"), "v9"),
        (("--assume-unchanged", "*"), "name that version"),
        (("--version", "v1", "--assume-unchanged", "*", "--rerun", "*"), "say either"),
    ):
        done = program.recover(failed, *flags, check=False)
        assert done.returncode == (1 if "v9" in flags else 2), done.stderr
        assert said in done.stderr, done.stderr
    missing = program.recover("no-such-execution", check=False)
    assert "no-such-execution" in missing.stderr
    assert program.lines() == Counter(["load", "clean", "train"])


def test_the_answer_for_people(program: Program, installation: Installation) -> None:
    """A table of nodes with reasons, what to do about changed code, and the end of the execution."""
    program.register("v1", broken="train")
    failed = program.fail("nested_wf", "v1")
    program.register("v2", broken="train", added=2)
    where = ("--data-dir", str(installation.data_dir))
    shown = installation.wingbeat("recover", failed, "--version", "v2", "--dry-run", *where).stdout
    assert "name them with --rerun" in shown
    assert "Nothing was started. 0 nodes reused, 6 run" in shown
    done = installation.wingbeat(
        "recover", failed, "--version", "v2", "--rerun", "*.train", "--watch", *where, check=False
    )
    assert done.returncode == 1
    assert "reused" in done.stdout
    assert "FAILED" in done.stdout
    assert "train is broken" in done.stdout
