"""The commands of flytekit, as a user types them."""

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest
from tests.e2e.client import Client, execution_id, succeeded
from tests.e2e.installation import BIN, Installation

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pyflyte(installation: Installation, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run pyflyte in the examples folder with the configuration file that `wingbeat up` wrote."""
    done = subprocess.run(
        [BIN / "pyflyte", "--config", str(installation.client_config), *arguments],
        cwd=EXAMPLES,
        env={**os.environ, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_run_remote(installation: Installation, client: Client) -> None:
    """`pyflyte run --remote` uploads the code, registers, launches and prints the execution's address."""
    done = pyflyte(installation, "run", "--remote", "hello_world.py", "hello_world_wf", "--name", "pyflyte")
    name = re.search(r"/executions/([a-z0-9-]+)", done.stdout + done.stderr)
    assert name, done.stdout + done.stderr
    execution = client.wait(client.remote.fetch_execution(name=name[1]))
    assert succeeded(execution).outputs["o0"] == "Hello, pyflyte!"
    address = re.search(r"http://\S+", done.stdout + done.stderr)
    assert address, "the printed address is one that answers"
    assert httpx.get(address[0], follow_redirects=True).json()["id"]["name"] == name[1]


@pytest.mark.parametrize(
    ("arguments", "succeeds"),
    [(("retries.py", "flaky_wf"), True), (("retries.py", "share_wf", "--people", "0"), False)],
    ids=["succeeds", "fails"],
)
def test_wait_and_exit_code(installation: Installation, arguments: tuple[str, ...], succeeds: bool) -> None:
    """`--wait` ends with the execution; its exit code tells success from failure."""
    done = pyflyte(installation, "run", "--remote", "--wait", "--poll-interval", "1", *arguments, check=False)
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr


def test_register_and_run_again(installation: Installation, client: Client) -> None:
    """`pyflyte register` takes a whole folder, twice with the same version; the entities are then listed and run."""
    for _ in range(2):
        done = pyflyte(
            installation,
            "register",
            "--project",
            "flytesnacks",
            "--version",
            "whole-folder",
            "hello_world.py",
            "diamond.py",
        )
        assert "Successfully registered" in done.stdout + done.stderr
    workflow = client.remote.fetch_workflow(name="diamond.diamond_wf", version="whole-folder")
    execution = succeeded(client.wait(client.remote.execute(workflow, inputs={"days": 3})))
    assert execution.outputs.get("o1", dict)["count"] == 3
    assert client.remote.fetch_execution(name=execution.id.name).id.name == execution_id(execution.id.name).name


def test_run_a_single_task(installation: Installation, client: Client) -> None:
    """A task runs on its own, without a workflow of the user's."""
    done = pyflyte(installation, "run", "--remote", "hello_world.py", "greet", "--name", "task")
    name = re.search(r"/executions/([a-z0-9-]+)", done.stdout + done.stderr)
    assert name, done.stdout + done.stderr
    execution = client.wait(client.remote.fetch_execution(name=name[1]))
    assert succeeded(execution).outputs["o0"] == "Hello, task!"
