"""Environment and command line of a task process on this machine."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local.programs import Program
from wingbeat_propeller.runtimes.local.wingbeat_task_host.flytekit_entry import FAST_EXECUTE

_DEFAULTS = {
    # Boxes drawn for a terminal wrap every line of a log at 80 columns.
    "FLYTE_SDK_RICH_TRACEBACKS": "0",
    "FLYTE_STATSD_DISABLED": "1",
}


DESCRIPTION_BYTES_MAX = 64 << 10
"""Longest variable about the execution; the kernel refuses a program with one of 128 KiB."""


def process_environment(
    request: ContainerRequest,
    program: Program,
    folder: Path,
    *,
    basic_env: Mapping[str, str],
    extra_env: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of an attempt, nothing of the server's own but `basic_env`; later entries win.

    HOME and TMPDIR are the attempt's own, so that no settings of the user who runs the server reach its tasks.
    """
    environment = dict(basic_env)
    environment["PATH"] = program.search_path
    environment["HOME"] = str(folder / "home")
    environment["TMPDIR"] = str(folder / "tmp")
    if program.environment is not None:
        environment["VIRTUAL_ENV"] = program.environment
    environment.update(requested_environment(request, extra_env))
    return {key: value for key, value in environment.items() if can_be_set(key, value)}


def requested_environment(request: ContainerRequest, extra_env: Mapping[str, str]) -> dict[str, str]:
    """What task, execution and installation ask for, wherever the attempt runs; later entries win."""
    environment = dict(_DEFAULTS)
    environment.update(description(request))
    environment.update(request.env)
    environment.update(extra_env)
    return {key: value for key, value in environment.items() if can_be_set(key, value)}


def description(request: ContainerRequest) -> dict[str, str]:
    """Labels and annotations of the execution as JSON objects, and whether the attempt may be interrupted: what a pod
    would carry as its metadata. What is empty or too long for a variable is left out."""
    if not (request.labels or request.annotations or request.interruptible):
        return {}
    variables = {
        "WINGBEAT_LABELS": json.dumps(dict(request.labels)) if request.labels else "",
        "WINGBEAT_ANNOTATIONS": json.dumps(dict(request.annotations)) if request.annotations else "",
        "WINGBEAT_INTERRUPTIBLE": "true" if request.interruptible else "",
    }
    return {name: value for name, value in variables.items() if value and len(value) <= DESCRIPTION_BYTES_MAX}


def command_line(argv: Sequence[str]) -> list[str]:
    """The command of a task for this machine: the code of fast registration is unpacked into the working folder.

    A task names a folder of its image for that (`.`, `/root`); here the same path would be the machine's.
    """
    line = list(argv)
    if os.path.basename(line[0]) != FAST_EXECUTE:
        return line
    end = line.index("--") if "--" in line else len(line)
    for index in range(1, end):
        if line[index] == "--dest-dir" and index + 1 < end:
            line[index + 1] = "."
        elif line[index].startswith("--dest-dir="):
            line[index] = "--dest-dir=."
    return line


def can_be_set(key: str, value: str) -> bool:
    """Whether the kernel takes it as a variable."""
    return bool(key) and "=" not in key and "\0" not in key and "\0" not in value
