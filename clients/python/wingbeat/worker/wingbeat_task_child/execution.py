"""One task in a process that has flytekit loaded: what the installed `pyflyte-execute` does, without its files.

flytekit's own functions resolve the task, convert values, run it and judge errors; only where they read inputs.pb and
write their results, a file access of ours hands the bytes over: inputs come with the task, and outputs.pb or error.pb
go with the report when nothing else was written and they are small. In every other case (a deck, futures of a dynamic
task, offloaded literals, large outputs) all of it is uploaded, as a container would have done.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from . import same_thread
from .command_line import EXECUTE, FAST_EXECUTE, MAP_EXECUTE, parse_fast, parse_task
from .file_access import Exchange, make_file_access
from .messages import Task

CODES_FOLDER = "codes"
"""Beside the folders of the children: archives with code, each fetched once."""
_ENTRYPOINT = "flytekit.bin.entrypoint"
_COMMANDS = {EXECUTE: "execute_task_cmd", MAP_EXECUTE: "map_execute_task_cmd"}

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


class _Entrypoint(Protocol):
    """What is used of flytekit's module of that name."""

    FileAccessProvider: type

    def normalize_inputs(
        self, raw: str | None, checkpoint: str | None, previous: str | None, /
    ) -> tuple[str | None, str | None, str | None]: ...


def renew(env: dict[str, str]) -> None:
    """Make a fresh fork independent of its siblings: random generators, scratch folders, settings read at import."""
    _set_environment(env)
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
    provider = sys.modules["flytekit.core.data_persistence"].default_local_file_access_provider
    provider.__init__(
        local_sandbox_dir=tempfile.gettempdir(), raw_output_prefix=os.path.join(tempfile.gettempdir(), "raw")
    )
    entrypoint = _entrypoint()
    entrypoint.FileAccessProvider = make_file_access(entrypoint.FileAccessProvider)
    same_thread.install()
    _have_dynamic_tasks_compiled_anew()
    main = types.ModuleType("__main__")
    main.__file__ = env.get("_", sys.executable)
    sys.modules["__main__"] = main
    search = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:0] = search


def run(task: Task) -> Result:
    """Run a task to its end; nothing it raises gets out."""
    result = Result()
    exchange = Exchange(task["inputs"])
    try:
        _set_environment(task["env"])
        argv = task["argv"]
        if os.path.basename(argv[0]) == FAST_EXECUTE:
            argv = _unpack(argv, result)
        sys.argv = list(argv)
        with exchange.open():
            _execute(argv, exchange)
        result.code = 0
    except SystemExit as error:
        result.code = _exit_code(error)
    except BaseException:  # noqa: BLE001 - as the interpreter does with an exception that nobody caught
        traceback.print_exc()
        result.code = 1
    if result.code == 0 or exchange.has_pending:
        try:
            exchange.settle(result)
        except BaseException:  # noqa: BLE001 - the upload of results failed: the task has, and may be tried again
            traceback.print_exc()
            result.code = result.code or 1
    return result


def _execute(argv: Sequence[str], exchange: Exchange) -> None:
    command = parse_task(argv)
    entrypoint = _entrypoint()
    if command is None:
        getattr(entrypoint, _COMMANDS[os.path.basename(argv[0])]).main(list(argv[1:]), standalone_mode=False)
        return
    options = command.options
    exchange.expect(options["inputs"], options["output_prefix"])
    raw, checkpoint, previous = entrypoint.normalize_inputs(
        options.get("raw_output_data_prefix"), options.get("checkpoint_path"), options.get("prev_checkpoint")
    )
    values: dict[str, object] = {
        "inputs": options["inputs"],
        "output_prefix": options["output_prefix"],
        "raw_output_data_prefix": raw,
        "test": False,
        "resolver": options["resolver"],
        "resolver_args": command.resolver_args,
        "dynamic_addl_distro": options.get("dynamic_addl_distro"),
        "dynamic_dest_dir": options.get("dynamic_dest_dir"),
        "checkpoint_path": checkpoint,
        "prev_checkpoint": previous,
    }
    if command.is_map:
        _function("_execute_map_task")(max_concurrency=None, **values)
    else:
        _function("_execute_task")(**values)


def _unpack(argv: Sequence[str], result: Result) -> list[str]:
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
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), folder)))
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


def _entrypoint() -> _Entrypoint:
    return cast("_Entrypoint", sys.modules[_ENTRYPOINT])


def _have_dynamic_tasks_compiled_anew() -> None:
    """A dynamic task keeps the workflow that it has made, for a process that runs it once."""
    tasks = cast("_DynamicTasks", importlib.import_module("flytekit.core.python_function_task").PythonFunctionTask)
    compile_once = getattr(tasks, "compile_into_workflow", None)
    if compile_once is None:
        return

    def compile_anew(task: _DynamicTask, *arguments: object, **options: object) -> object:
        task._wf = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - where flytekit keeps it
        return compile_once(task, *arguments, **options)

    tasks.compile_into_workflow = compile_anew


def _function(name: str) -> Callable[..., object]:
    """A function of flytekit's entry point that its command calls."""
    return cast("Callable[..., object]", getattr(sys.modules[_ENTRYPOINT], name))


def _set_environment(env: dict[str, str]) -> None:
    current = os.environ
    zone = current.get("TZ")
    for key in [key for key in current if key not in env]:
        del current[key]
    for key, value in env.items():
        if current.get(key) != value:
            current[key] = value
    if current.get("TZ") != zone:
        time.tzset()


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


class _DynamicTask(Protocol):
    _wf: object


class _DynamicTasks(Protocol):
    compile_into_workflow: Callable[..., object]


class _Stream(Protocol):
    def reconfigure(self, *, line_buffering: bool) -> None: ...
