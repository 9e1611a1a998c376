"""flytekit's container programs, run inside a fork of a process that has flytekit loaded.

A fork starts in milliseconds where a new interpreter needs a second for its imports. The price is state that the
fork shares with its siblings and that a fresh process would not have: environment, random generators, folders and
configuration that flytekit fixes at import. `run` renews each of them, then calls the same command functions that the
installed scripts call. User code is never loaded before the fork, so no attempt sees another one's modules.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from .messages import TaskSpec

EXECUTE = "pyflyte-execute"
FAST_EXECUTE = "pyflyte-fast-execute"
MAP_EXECUTE = "pyflyte-map-execute"

_ENTRYPOINT = "flytekit.bin.entrypoint"
_DATA = "flytekit.core.data_persistence"
_COMMANDS = {EXECUTE: "execute_task_cmd", MAP_EXECUTE: "map_execute_task_cmd", FAST_EXECUTE: "fast_execute_task_cmd"}


class _Context(Protocol):
    params: dict[str, object]


class _Command(Protocol):
    """What is used of a click command."""

    def main(self, args: Sequence[str], prog_name: str) -> object: ...
    def make_context(self, info_name: str, args: list[str]) -> _Context: ...


def preload() -> None:
    """Import flytekit and keep what is imported out of the garbage collector's way, so that forks share its pages.

    Raises ImportError when the interpreter has no flytekit, and whatever its import raises.
    """
    importlib.import_module(_ENTRYPOINT)
    # Every task definition parses its docstring; the parser compiles its patterns at its first use.
    importlib.import_module("flytekit.core.docstring").Docstring("A line.\n\n:param name: text")
    gc.collect()
    gc.freeze()


def run(spec: TaskSpec) -> int:
    """Run the attempt in this process, whose working folder and output are set; returns the exit code."""
    try:
        _renew(spec)
        args = spec["argv"][1:]
        entry = spec["entry"]
        if entry == FAST_EXECUTE:
            entry, args = _unpack_code(args)
        _command(entry).main(args, prog_name=entry)
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:  # noqa: BLE001 - as the interpreter does with an exception that nobody caught
        traceback.print_exc()
        code = 1
    return _finish(code)


def _command(entry: str) -> _Command:
    return cast("_Command", getattr(sys.modules[_ENTRYPOINT], _COMMANDS[entry]))


def _renew(spec: TaskSpec) -> None:
    env = spec["env"]
    os.environ.clear()
    os.environ.update(env)
    if "TZ" in env:
        time.tzset()
    sys.argv = [spec["program"], *spec["argv"][1:]]
    search = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:0] = [os.path.dirname(spec["program"]), *search]
    main = types.ModuleType("__main__")  # what multiprocessing loads again in the processes it spawns
    main.__file__ = spec["program"]
    sys.modules["__main__"] = main
    for stream in (sys.stdout, sys.stderr):
        cast("_Stream", stream).reconfigure(line_buffering=True)  # a reader of the log sees lines as they come

    random.seed()
    scratch = env.get("TMPDIR", "")
    tempfile.tempdir = scratch if os.access(scratch, os.W_OK) else None  # left to itself it would write to find out
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random").seed()
    # flytekit names blobs by a generator of its own; modules hold the object, so it is seeded in place.
    importlib.import_module("flytekit.interfaces.random").random.seed()
    importlib.import_module("flytekit.loggers").initialize_global_loggers()
    provider = sys.modules[_DATA].default_local_file_access_provider
    # Settings of the store and scratch folders were read at import: read them again from this attempt's environment.
    provider.__init__(
        local_sandbox_dir=tempfile.gettempdir(),
        raw_output_prefix=os.path.join(tempfile.gettempdir(), "raw"),
    )


class _Stream(Protocol):
    def reconfigure(self, *, line_buffering: bool) -> None: ...


def _unpack_code(args: list[str]) -> tuple[str, list[str]]:
    """Do what `pyflyte-fast-execute` does before it starts the inner command: fetch the user's code, show it to Python.

    The code goes to the working folder, whatever folder the command names. Returns the inner command.
    """
    params = _command(FAST_EXECUTE).make_context(FAST_EXECUTE, list(args)).params
    distribution = cast("str | None", params["additional_distribution"])
    named_folder = cast("str | None", params["dest_dir"])
    inner = list(cast("Sequence[str]", params["task_execute_cmd"]))
    folder = os.getcwd()
    if distribution is not None:
        fetch = importlib.import_module("flytekit.tools.fast_registration").download_distribution
        fetch(distribution, folder)
        if "--resolver" in inner:
            at = inner.index("--resolver")
            # Tasks that this one may create at run time are told the folder that the user named, not ours.
            inner[at:at] = ["--dynamic-addl-distro", distribution, "--dynamic-dest-dir", named_folder or "."]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), folder)))
    sys.path.insert(os.environ["PYTHONPATH"].count(os.pathsep) + 1, folder)
    importlib.invalidate_caches()
    sys.argv = inner
    return os.path.basename(inner[0]), inner[1:]


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _finish(code: int) -> int:
    """What an interpreter does at its end: wait for threads, call exit handlers, flush."""
    try:
        for module, function in (("threading", "_shutdown"), ("atexit", "_run_exitfuncs")):
            cast("Callable[[], None]", getattr(importlib.import_module(module), function))()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the task itself is done; its exit code stands
        traceback.print_exc()
    return code
