"""The client's commands against a real installation: what they print, and how they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.e2e.client import Client
from tests.e2e.installation import BIN, Installation, until


class Shell:
    """Types commands at an installation."""

    def __init__(self, installation: Installation) -> None:
        self._environment = {**os.environ, "WINGBEAT_ENDPOINT": installation.endpoint, "COLUMNS": "200"}

    def __call__(self, *arguments: str, status: int = 0, typed: str | None = None) -> str:
        """Standard output; AssertionError with all that was said when it ends otherwise."""
        command = [BIN / "wingbeat", *arguments]
        done = subprocess.run(
            command,
            env=self._environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, f"{arguments} ended {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if not status else done.stdout + done.stderr


@pytest.fixture(scope="module")
def shell(installation: Installation) -> Shell:
    """The commands."""
    return Shell(installation)


@pytest.fixture(scope="module")
def hello(client: Client) -> str:
    """Name of a launch plan."""
    return client.register("hello_world", "hello_world_wf").id.name


def test_launch_and_look(shell: Shell, hello: str, tmp_path: Path) -> None:
    """Launched, watched, waited for, listed, described, its logs read, in every form."""
    shown = shell("launch", hello, "name=Ada", "--watch", "--label", "team=vision")
    assert "SUCCEEDED" in shown
    assert "o0: Hello, Ada!" in shown
    (tmp_path / "inputs.json").write_text('{"name": "Bob"}')
    name = shell("launch", hello, "-i", str(tmp_path / "inputs.json"), "-o", "name", "--name", "cli-bob").strip()
    assert name == "flytesnacks/development/cli-bob"
    assert "n0 (greet) SUCCEEDED" in shell("watch", name)
    assert "SUCCEEDED" in shell("wait", "cli-bob", name)
    for command in ("list nodes", "describe execution"):
        rows = [line.split() for line in shell(*command.split(), name).splitlines()]
        assert ["n0", "greet", "SUCCEEDED"] in [row[:3] for row in rows]
    assert json.loads(shell("get", "execution", "cli-bob", "-o", "json"))["closure"]["phase"] == "SUCCEEDED"
    assert yaml.safe_load(shell("get", "execution", "cli-bob", "-o", "yaml"))["id"]["name"] == "cli-bob"
    assert name in shell("list", "executions", "--launch-plan", hello, "--phase", "succeeded", "-o", "name").split()
    described = shell("describe", "execution", "cli-bob")
    assert "name: Bob" in described
    assert "o0: Hello, Bob!" in described
    assert (
        shell("launch", hello, "-i", "-", "--watch", "-o", "json", typed='{"name": "Eve"}')
        == '{\n  "o0": "Hello, Eve!"\n}\n'
    )
    assert shell("launch", hello, "name=Kim", "--watch", "--name", "cli-kim", "-o", "name").split() == [
        "flytesnacks/development/cli-kim"
    ]
    assert shell("list", "nodes", "cli-bob", "-o", "name").split() == ["start-node", "n0", "end-node"]
    assert "hello_world.greet" in shell("list", "attempts", "cli-bob")
    assert "o0: Hello, Bob!" in shell("describe", "node", "cli-bob", "n0")


def test_what_is_registered(shell: Shell, hello: str) -> None:
    """Every kind can be listed and got."""
    for kind, name in (("tasks", "hello_world.greet"), ("workflows", hello), ("launch-plans", hello)):
        first, *_ = shell("list", kind, name, "-o", "name").split()
        assert json.loads(shell("get", kind, first, "-o", "json"))["id"]["name"] == name
        assert name in shell("describe", kind, name)
    assert "takes: name: string" in shell("describe", "workflow", hello)
    assert "flytesnacks" in shell("list", "projects", "-o", "name").split()
    assert shell("get", "domain", "development", "-o", "name").strip() == "development"


def test_gates_and_changes(shell: Shell, client: Client) -> None:
    """A gate is answered, an execution aborted, relaunched and asked about."""
    name = client.register("gates", "input_wf").id.name
    execution = shell("launch", name, "report=r", "-o", "name").strip()
    until(lambda: "waited for" in shell("signal", execution), what="the gate")
    assert "title" in shell("why", execution)
    assert "waited for: title" in shell("signal", execution, "other", "x", status=1)
    shell("signal", execution, "title", "Spring")
    assert "SUCCEEDED" in shell("wait", execution)
    assert "o0: Spring: r" in shell("describe", "execution", execution)
    assert "has ended" in shell("signal", execution, "title", "Autumn", status=1)
    assert "'Spring'" in shell("signal", execution)
    again = shell("relaunch", execution, "-o", "name").strip()
    shell("abort", again, "--cause", "not needed")
    assert "ABORTED" in shell("wait", again, status=1)
    assert "not needed" in shell("watch", again, status=1)
    assert "already terminated" in shell("abort", again, status=1)
    for command in ("signal", "list signals"):
        assert "waited for" not in shell(*command.split(), again)


def test_logs(shell: Shell, client: Client, installation: Installation) -> None:
    """Every attempt's and every element's lines, each with whose it is; following ends with the execution."""
    name = client.register("logs", "printing_wf").id.name
    execution = shell("launch", name, "numbers=[3, 5]", "-o", "name").strip()
    followed = shell("logs", execution, "-f", "--stdout")
    for line in ("n0[0] 0 stdout: element 3", "n0[1] 0 stdout: element 5", "n1 0 stdout: try 0", "n1 1 stdout: try 1"):
        assert line in followed.splitlines()
    assert shell("logs", execution, "n0", "--element", "1", "--stdout", "--bare").split("\n")[-2:] == ["element 5", ""]
    assert shell("logs", execution, "n1", "--attempt", "1", "--stdout", "--bare").split("\n")[-2:] == ["try 1", ""]
    assert shell("logs", execution, "n0-0-n1", "--stdout", "--bare").split("\n")[-2:] == ["element 5", ""]
    assert "there is no node 'n7'" in shell("logs", execution, "n7", status=1)


def test_exit_codes(shell: Shell, client: Client, hello: str) -> None:
    """1 for what failed, 2 for what makes no sense, 3 for no server."""
    failing = client.register("logs", "failing_wf").id.name
    said = shell("launch", failing, "--watch", "--name", "cli-broken", status=1)
    assert "execution FAILED: ValueError: it is broken" in said
    assert "ValueError: it is broken" in shell("get", "execution", "cli-broken")
    assert "nope" in shell("signal", "nope", "title", status=1)
    assert "there is no file rows.jsonl" in shell("batch", "create", "rows.jsonl", hello, status=2)
    assert "no inputs named 'nme'" in shell("launch", hello, "nme=1", status=2)
    assert "is no kind" in shell("list", "pods", status=2)
    assert "no execution" in shell("get", "execution", "a/b", status=2)
    assert "nope" in shell("get", "execution", "nope", status=1)
    shell("list", status=2)
    assert "does not answer" in shell("list", "executions", "--endpoint", "localhost:1", status=3)
    assert "does not answer" in shell("why", "e", "--endpoint", "localhost:1", status=3)


def test_what_is_not_there(shell: Shell, client: Client, hello: str) -> None:
    """A name that was misspelt is said to be none, by commands that wait or find nothing as well, and a project or
    domain that does not exist before all that would be in it."""
    nothing = "there is no execution flytesnacks/development/nope"
    for command in ("get execution", "list nodes", "list signals", "watch", "logs", "signal", "relaunch", "why"):
        assert nothing in shell(*command.split(), "nope", status=1), command
    assert nothing in shell("erase", "nope", status=1)
    for flags in ((), ("--dry-run",), ("--yes",)):
        assert "there is no project nope" in shell("erase", "--project", "nope", *flags, status=1)
    for flags, what in ((("-p", "nope"), "there is no project 'nope'"), (("-d", "nope"), "there is no domain 'nope'")):
        assert what in shell("list", "executions", *flags, status=1)
        assert what in shell("launch", hello, *flags, status=1)
    assert "write `wingbeat get execution EXECUTION`" in shell("get", "executions", status=2)
    name = client.register("logs", "printing_wf").id.name
    assert f"{name} also needs numbers=[integer]" in shell("launch", name, status=2)
    gates = client.register("gates", "input_wf").id.name
    waiting = shell("launch", gates, "report=r", "-o", "name").strip()
    until(lambda: "title" in shell("signal", waiting), what="the gate")
    assert "title wants a value" in shell("signal", waiting, "title", status=2)
    shell("abort", waiting)


def test_live_progress(installation: Installation, hello: str) -> None:
    """On a terminal progress is drawn in place, and what remains is the end."""
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "WINGBEAT_ENDPOINT": installation.endpoint, "TERM": "xterm"}
    command = [BIN / "wingbeat", "launch", hello, "name=Ada", "--watch"]
    process = subprocess.Popen(command, env=environment, stdout=child, stderr=child)
    os.close(child)
    shown = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(parent)
    assert process.wait(60) == 0
    assert b"\x1b[" in shown
    assert b"Hello, Ada!" in shown
    assert sys.executable
