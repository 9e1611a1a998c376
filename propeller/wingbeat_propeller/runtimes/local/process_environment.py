"""Environment and command line of a task process on this machine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from wingbeat_propeller.runtimes.local.programs import Program
from wingbeat_propeller.runtimes.local.wingbeat_task_host.flytekit_entry import FAST_EXECUTE

_DEFAULTS = {
    # Boxes drawn for a terminal wrap every line of a log at 80 columns.
    "FLYTE_SDK_RICH_TRACEBACKS": "0",
    "FLYTE_STATSD_DISABLED": "1",
}


def process_environment(
    asked_for: Mapping[str, str],
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
    environment.update(_DEFAULTS)
    environment.update(asked_for)
    environment.update(extra_env)
    return {key: value for key, value in environment.items() if _can_be_set(key, value)}


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


def _can_be_set(key: str, value: str) -> bool:
    return bool(key) and "=" not in key and "\0" not in key and "\0" not in value
