"""Where a child meets flytekit: the few of its names that are replaced in this process, and why.

Run as it stands, flytekit makes six folders and three files for each task, and looks at its own call stack; in a warm
process that is most of a small task. Folders that nobody uses are made once a child instead, and files that only carry
bytes from one function to the next stay in memory. What flytekit decides and computes is not touched. A name that is
not there in some release of flytekit is left alone, and costs time only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pathlib
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any, Protocol, cast

from . import file_access, same_thread
from .environment import Environment
from .exchange import Exchange
from .folders import BASE, SANDBOX, WORKSPACE, make_layout

ENTRYPOINT = "flytekit.bin.entrypoint"
_STATS_ARGUMENTS = ("client", "full_prefix", "cfg", "prefix", "tags")


class Hooks:
    """Installed once in a child; `current` is the exchange of the task under way."""

    def __init__(self, scratch: str, environment: Environment) -> None:
        self.current: Exchange | None = None
        self.environment = environment
        self.results_folder = os.path.join(scratch, SANDBOX, "local_flytekit", "engine_dir")
        self._sandbox = os.path.join(scratch, SANDBOX)
        self._workspace = os.path.join(scratch, WORKSPACE)
        make_layout(scratch)
        self._renew_default_provider(os.path.join(scratch, BASE))
        self._hook_entrypoint()
        _leave_known_folders_alone(self.results_folder, self._workspace)
        _compile_dynamic_tasks_anew()
        _make_checkpoint_folders_late()
        _keep_off_the_call_stack()
        same_thread.install()

    def _renew_default_provider(self, folder: str) -> None:
        """Settings of the store and scratch folders were read at import, before this child had its environment."""
        os.makedirs(folder, exist_ok=True)
        provider = cast("_Provider", sys.modules["flytekit.core.data_persistence"].default_local_file_access_provider)
        cast("Any", provider).__init__(local_sandbox_dir=folder, raw_output_prefix=os.path.join(folder, "raw"))
        make = provider.get_random_local_directory

        def get_random_local_directory() -> str:
            if self.current is not None and self.current.sets_up:
                self.current.sets_up = False
                return self._workspace
            return make()

        provider.get_random_local_directory = get_random_local_directory

    def _hook_entrypoint(self) -> None:
        entrypoint = cast("Any", sys.modules[ENTRYPOINT])
        entrypoint.FileAccessProvider = file_access.derive(entrypoint.FileAccessProvider, self)
        for settings in ("StatsConfig", "ImageConfig"):
            setattr(entrypoint, settings, _ReadOnce(getattr(entrypoint, settings)))
        entrypoint._get_stats = _late_stats(entrypoint._get_stats)  # noqa: SLF001 - as flytekit names it
        entrypoint.get_one_of = self._get_one_of
        utils = entrypoint.utils
        read, write = utils.load_proto_from_file, utils.write_proto_to_file

        def load_proto_from_file(message_type: type[_Message], path: str) -> object:
            content = self.current.read(path) if self.current is not None else None
            return read(message_type, path) if content is None else message_type.FromString(content)

        def write_proto_to_file(message: _Message, path: str) -> None:
            if self.current is None or not self.current.write(path, message.SerializeToString()):
                write(message, path)

        entrypoint.utils = _instead(
            utils, load_proto_from_file=load_proto_from_file, write_proto_to_file=write_proto_to_file
        )
        entrypoint.tempfile = _instead(tempfile, mkdtemp=self._make_sandbox)
        realpath = functools.lru_cache(maxsize=1024)(os.path.realpath)
        entrypoint.os = _instead(os, path=_instead(os.path, realpath=realpath))

    def _get_one_of(self, *names: str) -> str:
        """As flytekit's; asked before the task's code runs, so what came with the task is the environment."""
        for name in names:
            if (value := self.environment.get(name)) is not None:
                return value
        return ""

    def _make_sandbox(self, **_: object) -> str:
        return self._sandbox


class _Message(Protocol):
    @classmethod
    def FromString(cls, data: bytes) -> object: ...  # noqa: N802 - as protobuf has it
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - as protobuf has it


class _Provider(Protocol):
    get_random_local_directory: Callable[[], str]


class _ReadOnce:
    """A class of settings whose `auto` reads them once: all tasks of a child have them in common."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._read: object = None

    def auto(self, *arguments: object, **options: object) -> object:
        """As flytekit's."""
        if arguments or options:
            return self._settings.auto(*arguments, **options)
        self._read = self._read or self._settings.auto()
        return self._read

    def __getattr__(self, name: str) -> object:
        return getattr(self._settings, name)


def _late_stats(get_stats: Callable[..., Any]) -> Callable[..., object]:
    """Instead of flytekit's function that makes the statistics of a task: next to no task uses them, so they are made
    when they are first looked at."""
    theirs = getattr(importlib.import_module("flytekit.interfaces.stats.taggable"), "TaggableStats", None)
    if theirs is None or inspect.getfullargspec(theirs).args != ["self", *_STATS_ARGUMENTS]:
        return get_stats

    class LateStats(theirs):
        def __init__(self, **options: object) -> None:
            object.__setattr__(self, "options", options)

        def __getattribute__(self, name: str) -> object:
            made = get_stats(**object.__getattribute__(self, "options"))
            object.__delattr__(self, "options")
            object.__setattr__(self, "__class__", theirs)
            theirs.__init__(self, made._client, made._full_prefix, made._cfg, made._scope_prefix, made._tags)  # noqa: SLF001
            return getattr(self, name)

    return LateStats


def _leave_known_folders_alone(*known: str) -> None:
    """flytekit makes sure of the folders of a task several times; these are there."""
    there = frozenset(known)

    def path(*parts: str) -> pathlib.Path | _There:
        return _There() if len(parts) == 1 and str(parts[0]) in there else pathlib.Path(*parts)

    for name in (ENTRYPOINT, "flytekit.core.context_manager"):
        module = importlib.import_module(name)
        if hasattr(module, "pathlib"):
            cast("Any", module).pathlib = _instead(pathlib, Path=path)


class _There:
    """A folder that is there."""

    def mkdir(self, *_: object, **__: object) -> None:
        """Nothing to do."""


def _compile_dynamic_tasks_anew() -> None:
    """A dynamic task keeps the workflow that it has made, for a process that runs it once."""
    tasks = importlib.import_module("flytekit.core.python_function_task").PythonFunctionTask
    compile_once = getattr(tasks, "compile_into_workflow", None)
    if compile_once is None:
        return

    def compile_anew(task: Any, *arguments: object, **options: object) -> object:
        task._wf = None  # noqa: SLF001 - where flytekit keeps it
        return compile_once(task, *arguments, **options)

    tasks.compile_into_workflow = compile_anew


def _make_checkpoint_folders_late() -> None:
    """Each task gets a checkpoint with a temporary folder, and next to none uses it."""
    module = importlib.import_module("flytekit.core.checkpointer")
    if hasattr(module, "tempfile"):
        cast("Any", module).tempfile = _instead(tempfile, TemporaryDirectory=_LateFolder)


class _LateFolder:
    """A TemporaryDirectory that is made when its name is asked for."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    @property
    def name(self) -> str:
        """Its path."""
        self._made = self._made or tempfile.TemporaryDirectory()
        return self._made.name

    def cleanup(self) -> None:
        """Remove it, if it was made."""
        if self._made is not None:
            self._made.cleanup()


def _keep_off_the_call_stack() -> None:
    """Each context remembers the line that made it, for messages that a task in a container never shows."""
    manager = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    if hasattr(manager, "get_origin_stackframe"):
        frame = traceback.FrameSummary("pyflyte-execute", 0, "task", lookup_line=False, line="")

        def get_origin_stackframe(limit: int = 2) -> traceback.FrameSummary:
            return frame

        manager.get_origin_stackframe = staticmethod(get_origin_stackframe)


def _instead(module: types.ModuleType, **names: object) -> types.ModuleType:
    """A module like another one but for some names."""
    other = types.ModuleType(module.__name__)
    other.__dict__.update(module.__dict__)
    other.__dict__.update(names)
    return other
