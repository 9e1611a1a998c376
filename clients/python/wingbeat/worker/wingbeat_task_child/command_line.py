"""The command lines of flytekit's container programs, read without click: that alone would take a sixth of a task.

A line that is not understood here goes to flytekit's own command, which understands more of them or says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

EXECUTE = "pyflyte-execute"
FAST_EXECUTE = "pyflyte-fast-execute"
MAP_EXECUTE = "pyflyte-map-execute"

_TASK_FLAGS = {
    "--inputs": "inputs",
    "--output-prefix": "output_prefix",
    "--raw-output-data-prefix": "raw_output_data_prefix",
    "--checkpoint-path": "checkpoint_path",
    "--prev-checkpoint": "prev_checkpoint",
    "--dynamic-addl-distro": "dynamic_addl_distro",
    "--dynamic-dest-dir": "dynamic_dest_dir",
    "--resolver": "resolver",
}
TASK_OPTIONS = tuple(_TASK_FLAGS.values())
_FAST_FLAGS = {"--additional-distribution": "additional_distribution", "--dest-dir": "dest_dir"}
_REQUIRED = ("inputs", "output_prefix", "resolver")


class FastCommand(NamedTuple):
    """`pyflyte-fast-execute`: the archive with the code, the folder that it names for it, and the command inside."""

    distribution: str | None
    dest_dir: str
    inner: list[str]


class TaskCommand(NamedTuple):
    """`pyflyte-execute` or `pyflyte-map-execute`: the options by the names of flytekit's parameters."""

    is_map: bool
    options: dict[str, str]
    resolver_args: list[str]


def parse_fast(argv: Sequence[str]) -> FastCommand | None:
    """None: not understood."""
    found = _parse(argv[1:], _FAST_FLAGS)
    if found is None or not found[1]:
        return None
    options, inner = found
    return FastCommand(options.get("additional_distribution"), options.get("dest_dir") or ".", inner)


def parse_task(argv: Sequence[str]) -> TaskCommand | None:
    """None: not understood."""
    found = _parse(argv[1:], _TASK_FLAGS)
    if found is None or not found[1] or any(name not in found[0] for name in _REQUIRED):
        return None
    return TaskCommand(os.path.basename(argv[0]) == MAP_EXECUTE, *found)


def _parse(arguments: Sequence[str], known: dict[str, str]) -> tuple[dict[str, str], list[str]] | None:
    """Options before the first argument or `--`, and the arguments."""
    options: dict[str, str] = {}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            return options, list(arguments[at + 1 :])
        if not word.startswith("-"):
            break
        name, equals, value = word.partition("=")
        if name not in known:
            return None
        if not equals:
            at += 1
            if at == len(arguments):
                return None
            value = arguments[at]
        options[known[name]] = value
        at += 1
    rest = list(arguments[at:])
    # Options may follow arguments for click; loader arguments are bare words, so a dash among them is such a case.
    return None if any(word.startswith("-") for word in rest) else (options, rest)
