"""Which program runs, and how."""

import json
import os
from pathlib import Path

import pytest

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local.paths import BadAttemptNameError, log_file, task_folder
from wingbeat_propeller.runtimes.local.process_environment import (
    DESCRIPTION_BYTES_MAX,
    command_line,
    process_environment,
)
from wingbeat_propeller.runtimes.local.programs import Program, ProgramNotFoundError, find_program, interpreter_of

SCRIPT = "\nfrom flytekit.bin.entrypoint import execute_task_cmd\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("#!/opt/venv/bin/python", "/opt/venv/bin/python"),
        ("#!/opt/venv/bin/python3.11 -E", "/opt/venv/bin/python3.11"),
        ("#!/usr/bin/env python3", "python3"),
        ("#!/usr/bin/env -S python3 -u", "python3"),
        ("#!/bin/sh\n'''exec' \"/a long/path/python\" \"$0\" \"$@\"\n' '''", "/a long/path/python"),
        ("#!/bin/sh\n'''exec' /long/path/python \"$0\" \"$@\"\n' '''", "/long/path/python"),
        (
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''",
            "/srv/env/bin/python",
        ),
        ("#!/bin/sh\nexec something", None),
        ("import sys", None),
        ("#!", None),
    ],
)
def test_interpreter_of_a_script(head: str, expected: str | None) -> None:
    """The forms that installers write are all understood."""
    assert interpreter_of(head + SCRIPT, "/srv/env/bin/pyflyte-execute") == expected


def _venv(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin/python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for name in ("pyflyte-execute", "pyflyte-fast-execute", "pyflyte-map-execute"):
        script = folder / "bin" / name
        script.write_text(f"#!{python}{SCRIPT}")
        script.chmod(0o755)
    return folder


def _find(argv: list[str], image: str, env: dict[str, str] | None = None, *, venv: Path, path: str) -> Program:
    return find_program(argv, image, env or {}, environments={"mapped:1": str(venv)}, path=path)


def test_image_decides_where_programs_are(tmp_path: Path) -> None:
    """A mapped image and a `local:` image mean their environment, any other one the PATH."""
    venv, other = _venv(tmp_path / "venv"), _venv(tmp_path / "other")
    path = str(other / "bin")
    for image in ("mapped:1", f"local:{venv}"):
        program = _find(["pyflyte-execute"], image, venv=venv, path=path)
        assert program.path == str(venv / "bin/pyflyte-execute")
        assert program.interpreter == str(venv / "bin/python")
        assert program.search_path == os.pathsep.join((str(venv / "bin"), path))
    assert _find(["pyflyte-execute"], "unknown", venv=venv, path=path).path == str(other / "bin/pyflyte-execute")


@pytest.mark.parametrize(
    ("argv", "env", "entry"),
    [
        (
            ["pyflyte-execute", "--inputs", "x"],
            {"A": "1", "PYTHONPATH": "/x", "PYTHONUNBUFFERED": "1"},
            "pyflyte-execute",
        ),
        (["pyflyte-map-execute"], {}, "pyflyte-map-execute"),
        (["pyflyte-fast-execute", "--dest-dir", ".", "--", "pyflyte-execute"], {}, "pyflyte-fast-execute"),
        (["pyflyte-fast-execute", "--dest-dir", ".", "--", "torchrun"], {}, ""),
        (["pyflyte-fast-execute", "--dest-dir", "."], {}, ""),
        (["pyflyte-execute"], {"PYTHONHASHSEED": "0"}, ""),
        (["pyflyte-execute"], {"LD_PRELOAD": "x.so"}, ""),
        (["pyflyte-execute"], {"_F_RUNTIME_PACKAGES": "numpy"}, ""),
        (["python"], {}, ""),
    ],
)
def test_only_what_a_fork_can_do_is_forked(tmp_path: Path, argv: list[str], env: dict[str, str], entry: str) -> None:
    """flytekit's own programs are forked unless the task sets something that a fork would see too late."""
    venv = _venv(tmp_path / "venv")
    assert _find(argv, "mapped:1", env, venv=venv, path="/bin").entry == entry


def test_relative_paths_belong_to_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is looked up in the image's folder, not where Wingbeat happens to run."""
    venv = _venv(tmp_path / "venv")
    (tmp_path / "here").mkdir()
    for folder in (venv, tmp_path / "here"):
        (folder / "run.sh").write_text("#!/bin/sh\n")
        (folder / "run.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    assert _find(["./run.sh"], "mapped:1", venv=venv, path="/bin").path == f"{venv}/run.sh"
    assert _find(["bin/python"], f"local:{venv}", venv=venv, path="/bin").path == f"{venv}/bin/python"
    for image, argv, words in (("other", "./run.sh", "working folder"), ("mapped:1", "./absent.sh", "not found")):
        with pytest.raises(ProgramNotFoundError, match=words):
            _find([argv], image, venv=venv, path="/bin")


def test_a_missing_program_is_explained(tmp_path: Path) -> None:
    """The message holds what a user needs to mend it."""
    with pytest.raises(ProgramNotFoundError, match=r"'nothing'.*'img:1'.*/nowhere.*local:/path/to/venv"):
        _find(["nothing"], "img:1", venv=tmp_path, path="/nowhere")


def test_destination_folder_is_the_working_folder() -> None:
    """Every spelling of the option is rewritten, the inner command is not touched."""
    line = ["/x/pyflyte-fast-execute", "--dest-dir", "/root", "--dest-dir=/etc", "--", "prog", "--dest-dir", "/y"]
    assert command_line(line) == [line[0], "--dest-dir", ".", "--dest-dir=.", "--", "prog", "--dest-dir", "/y"]
    assert command_line(["prog", "--dest-dir", "/y"]) == ["prog", "--dest-dir", "/y"]


def test_environment_of_a_process() -> None:
    """The task may set its own HOME and flytekit options; the installation's additions come last."""
    program = Program("/v/bin/x", "/v/bin:/bin", environment="/v")
    asked_for = {"FLYTE_STATSD_DISABLED": "0", "A": "task", "": "bad", "N": "\0"}
    env = process_environment(
        ContainerRequest("a", "img", ["x"], asked_for),
        program,
        Path("/s/tasks/a"),
        basic_env={"LANG": "C"},
        extra_env={"A": "installation"},
    )
    assert env == {
        "LANG": "C",
        "PATH": "/v/bin:/bin",
        "HOME": "/s/tasks/a/home",
        "TMPDIR": "/s/tasks/a/tmp",
        "VIRTUAL_ENV": "/v",
        "FLYTE_SDK_RICH_TRACEBACKS": "0",
        "FLYTE_STATSD_DISABLED": "0",
        "A": "installation",
    }


def test_process_knows_its_execution() -> None:
    """Labels, annotations and interruptibility are told, unless too long for the kernel; a task may say otherwise."""
    request = ContainerRequest(
        "a",
        "img",
        ["x"],
        {"WINGBEAT_INTERRUPTIBLE": "its own"},
        labels={"team": "ö"},
        annotations={"note": "x" * DESCRIPTION_BYTES_MAX},
        interruptible=True,
    )
    env = process_environment(request, Program("/v/bin/x", "/bin"), Path("/s"), basic_env={}, extra_env={})
    assert json.loads(env["WINGBEAT_LABELS"]) == {"team": "ö"}
    assert "WINGBEAT_ANNOTATIONS" not in env
    assert env["WINGBEAT_INTERRUPTIBLE"] == "its own"


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\0", "a" * 200, "-a"])
def test_names_lead_nowhere_else(name: str) -> None:
    """A name that is no plain folder name is refused."""
    with pytest.raises(BadAttemptNameError):
        task_folder(Path("/s"), name)
    with pytest.raises(BadAttemptNameError):
        log_file(Path("/s"), name, "stdout")
