"""Which program runs a task: by image, by path of an environment, or on the PATH of the installation."""

import uuid
from pathlib import Path

from flyteidl.core import identifier_pb2
from tests.e2e import specs
from tests.e2e.client import Client, create_request, phase


def run_program(client: Client, image: str, args: list[str]):
    """The ended execution of a task without inputs and outputs."""
    request = specs.task_request("raw.program", uuid.uuid4().hex, inputs={}, outputs={}, args=args)
    request.spec.template.container.image = image
    client.admin.CreateTask(request)
    name = client.admin.CreateExecution(create_request(request, resource_type=identifier_pb2.TASK)).id.name
    return client.wait(client.remote.fetch_execution(name=name))


def test_image_names_an_environment(client: Client, tmp_path: Path) -> None:
    """`local:/path` runs the program of that environment, with its folder first on the PATH and the image in sight."""
    program = tmp_path / "venv" / "bin" / "tell"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$1 $PATH" > "$2"\n')
    program.chmod(0o755)
    told = tmp_path / "told"
    execution = run_program(client, f"local:{tmp_path}/venv", ["tell", "hello there", str(told)])
    assert phase(execution) == "SUCCEEDED", execution.error.message
    assert told.read_text().startswith(f"hello there {tmp_path}/venv/bin:")


def test_unknown_program(client: Client) -> None:
    """The user learns what was looked for, where, and what to do."""
    execution = run_program(client, "ghcr.io/acme/training:v3", ["no-such-program", "--help"])
    assert phase(execution) == "FAILED"
    for word in ("no-such-program", "ghcr.io/acme/training:v3", "local:/path/to/venv", "settings"):
        assert word in execution.error.message


def test_command_and_arguments_are_one_line(client: Client, tmp_path: Path) -> None:
    """Arguments arrive one by one, empty ones and odd characters included; nothing goes through a shell."""
    told = tmp_path / "told"
    script = 'printf "%s|" "$@" > "$0"'
    args = ["sh", "-c", script, str(told), "", "a b", "$HOME", "é", "'", "{{.unknown}}"]
    assert phase(run_program(client, "raw", args)) == "SUCCEEDED"
    assert told.read_text() == "|a b|$HOME|é|'|{{.unknown}}|"
