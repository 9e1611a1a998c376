"""One task in a process that has flytekit loaded: what the installed `pyflyte-execute` does, without its files.

flytekit's own functions resolve the task, convert values, run it and judge errors. Inputs come with the task, and
outputs.pb or error.pb go with the report when nothing else was written and they are small (`exchange`). In every other
case (a deck, futures of a dynamic task, offloaded literals, large outputs) all of it is uploaded, as a container would
have done.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from .command_line import EXECUTE, FAST_EXECUTE, MAP_EXECUTE, TASK_OPTIONS, parse_fast, parse_task
from .environment import Environment
from .exchange import Exchange
from .flytekit_hooks import ENTRYPOINT, Hooks
from .messages import Task

CODES_FOLDER = "codes"
"""Beside the folders of the children: archives with code, each fetched once."""
_COMMANDS = {EXECUTE: "execute_task_cmd", MAP_EXECUTE: "map_execute_task_cmd"}

_FUNCTIONS: dict[str, tuple[str, dict[str, object]]] = {
    EXECUTE: ("_execute_task", {}),
    MAP_EXECUTE: ("_execute_map_task", {"max_concurrency": None}),
}
"""What the commands of flytekit's entry point call, and what else those are given."""

_unpacked: set[str] = set()
"""Archives whose code lies in the working folder."""
_resolved: set[str] = set()
"""Working folders that are on the search path of modules."""


@dataclass(slots=True)
class Result:
    """How a task ended: as in messages.Report. `unpacked`: code was put into the working folder."""

    code: int = 0
    outputs: bytes | None = None
    error: bytes | None = None
    files: bool = False
    unpacked: bool = False


def renew(env: dict[str, str]) -> Hooks:
    """Make a fresh fork independent of its siblings: random generators, scratch folders, settings read at import."""
    environment = Environment(env)
    for stream in (sys.stdout, sys.stderr):
        cast("_Stream", stream).reconfigure(line_buffering=True)
    sys.dont_write_bytecode = True  # else an import would leave something among the user's files
    random.seed()
    tempfile.tempdir = env["TMPDIR"]
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random").seed()
    # flytekit names blobs by a generator of its own; modules hold the object, so it is seeded in place.
    importlib.import_module("flytekit.interfaces.random").random.seed()
    importlib.import_module("flytekit.loggers").initialize_global_loggers()
    main = types.ModuleType("__main__")
    main.__file__ = env.get("_", sys.executable)
    sys.modules["__main__"] = main
    search = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:0] = search
    return Hooks(env["TMPDIR"], environment)


def run(task: Task, hooks: Hooks) -> Result:
    """Run a task to its end; nothing it raises gets out."""
    result = Result()
    exchange = Exchange(task["inputs"], hooks.results_folder)
    try:
        hooks.environment.begin(task["env"])
        hooks.current = exchange
        argv = task["argv"]
        if os.path.basename(argv[0]) == FAST_EXECUTE:
            argv = _unpack(argv, hooks.environment, result)
        sys.argv = list(argv)
        _execute(argv, exchange)
    except SystemExit as error:
        result.code = _exit_code(error)
    except BaseException:  # noqa: BLE001 - as the interpreter does with an exception that nobody caught
        traceback.print_exc()
        result.code = 1
    if result.code == 0 or exchange.has_results:
        try:
            exchange.settle(result)
        except BaseException:  # noqa: BLE001 - the upload of results failed: the task has, and may be tried again
            traceback.print_exc()
            result.code = result.code or 1
    hooks.current = None
    return result


def _execute(argv: Sequence[str], exchange: Exchange) -> None:
    entrypoint = sys.modules[ENTRYPOINT]
    name = os.path.basename(argv[0])
    command = parse_task(argv)
    if command is None:
        values = dict(cast("_Command", getattr(entrypoint, _COMMANDS[name])).make_context(name, list(argv[1:])).params)
    else:
        values = {option: command.options.get(option) for option in TASK_OPTIONS}
        values |= {"test": False, "resolver_args": command.resolver_args}
    exchange.expect(str(values["inputs"]), str(values["output_prefix"]))
    exchange.sets_up = True
    normalize = cast("Callable[..., tuple[object, object, object]]", entrypoint.normalize_inputs)
    paths = ("raw_output_data_prefix", "checkpoint_path", "prev_checkpoint")
    values |= dict(zip(paths, normalize(*(values.get(path) for path in paths)), strict=True))
    function, more = _FUNCTIONS[name]
    cast("Callable[..., object]", getattr(entrypoint, function))(**{**more, **values})


def _unpack(argv: Sequence[str], environment: Environment, result: Result) -> list[str]:
    """Do what `pyflyte-fast-execute` does before it starts the inner command; its code is unpacked once a child.

    The code goes to the working folder, whatever folder the command names.
    """
    command = parse_fast(argv)
    if command is None:
        raise ValueError(f"{FAST_EXECUTE}: its arguments are not understood")
    folder = os.getcwd()
    inner = command.inner
    if command.distribution is not None:
        if command.distribution not in _unpacked:
            fetch = importlib.import_module("flytekit.tools.fast_registration").download_distribution
            fetch(_archive(command.distribution, folder), folder)
            _unpacked.add(command.distribution)
            result.unpacked = True
        if "--resolver" in inner:
            at = inner.index("--resolver")
            # Tasks that this one may create at run time are told the folder that the user named, not ours.
            inner[at:at] = ["--dynamic-addl-distro", command.distribution, "--dynamic-dest-dir", command.dest_dir]
    if folder not in _resolved:
        _resolved.add(folder)
        sys.path.insert(os.environ.get("PYTHONPATH", "").count(os.pathsep), folder)
        importlib.invalidate_caches()
        environment.add_to_search_path(folder)
    return inner


def _archive(distribution: str, folder: str) -> str:
    """Where the archive lies on this machine: children of one worker share it."""
    codes = os.path.join(os.path.dirname(os.path.dirname(folder)), CODES_FOLDER)
    place = os.path.join(codes, hashlib.sha256(distribution.encode()).hexdigest())
    archive = os.path.join(place, os.path.basename(distribution))
    if not os.path.exists(archive):
        os.makedirs(place, exist_ok=True)
        arriving = tempfile.mkdtemp(dir=place)
        context = importlib.import_module("flytekit.core.context_manager").FlyteContextManager.current_context()
        context.file_access.get_data(distribution, os.path.join(arriving, "archive"))
        os.replace(os.path.join(arriving, "archive"), archive)
        os.rmdir(arriving)
    return archive


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


class _Context(Protocol):
    params: dict[str, object]


class _Command(Protocol):
    """What is used of a click command."""

    def make_context(self, info_name: str, args: list[str]) -> _Context: ...


class _Stream(Protocol):
    def reconfigure(self, *, line_buffering: bool) -> None: ...
