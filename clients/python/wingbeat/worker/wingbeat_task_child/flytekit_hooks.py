"""Where a child meets flytekit: the few of its names that are replaced in this process, and why.

Run as it stands, flytekit makes six folders and three files for each task, and looks at its own call stack; in a warm
process that is most of a small task. Folders that nobody uses are made once a child instead, and files that only carry
bytes from one function to the next stay in memory. What flytekit decides and computes is not touched. A name that is
not there in some release of flytekit is left alone, and costs time only.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any, Protocol, cast

from . import same_thread
from .exchange import Exchange

ENTRYPOINT = "flytekit.bin.entrypoint"
SANDBOX = "flyte"
"""In the scratch folder: what flytekit makes anew for each task."""
BASE = "base"
WORKSPACE = "workspace"
LAYOUT = {
    "": frozenset({SANDBOX, BASE, WORKSPACE}),
    SANDBOX: frozenset({"local_flytekit"}),
    f"{SANDBOX}/local_flytekit": frozenset({"engine_dir"}),
    f"{SANDBOX}/local_flytekit/engine_dir": frozenset[str](),
    f"{BASE}/local_flytekit": frozenset[str](),
    WORKSPACE: frozenset[str](),
}
"""What is in the folders below the scratch folder when no task runs."""


class Hooks:
    """Installed once in a child; `current` is the exchange of the task under way."""

    def __init__(self, scratch: str) -> None:
        self.current: Exchange | None = None
        self.results_folder = os.path.join(scratch, SANDBOX, "local_flytekit", "engine_dir")
        self._sandbox = os.path.join(scratch, SANDBOX)
        self._workspace = os.path.join(scratch, WORKSPACE)
        for folder in (self.results_folder, self._workspace):
            os.makedirs(folder, exist_ok=True)
        self._renew_default_provider(os.path.join(scratch, BASE))
        self._hook_entrypoint()
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
        entrypoint.FileAccessProvider = _file_access(entrypoint.FileAccessProvider, self)
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

    def _make_sandbox(self, **_: object) -> str:
        return self._sandbox


class _Message(Protocol):
    @classmethod
    def FromString(cls, data: bytes) -> object: ...  # noqa: N802 - as protobuf has it
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - as protobuf has it


class _Provider(Protocol):
    get_random_local_directory: Callable[[], str]


class _FileAccess(Protocol):
    """What is used of flytekit's FileAccessProvider."""

    def get_data(self, remote_path: str, local_path: str, is_multipart: bool = False, **options: object) -> object: ...
    def put_data(self, local_path: str, remote_path: str, is_multipart: bool = False, **options: object) -> object: ...


def _file_access(base: type, hooks: Hooks) -> type:
    """A FileAccessProvider that asks the exchange of the task under way first; `base` is flytekit's."""
    theirs = cast("type[_FileAccess]", base)
    theirs_get, theirs_put = theirs.get_data, theirs.put_data

    def get_data(
        self: _FileAccess, remote_path: str, local_path: str, is_multipart: bool = False, **options: object
    ) -> object:
        if hooks.current is not None and hooks.current.give(str(remote_path), str(local_path)):
            return local_path
        return theirs_get(self, remote_path, local_path, is_multipart=is_multipart, **options)

    def put_data(
        self: _FileAccess, local_path: str, remote_path: str, is_multipart: bool = False, **options: object
    ) -> object:
        def upload() -> object:
            return theirs_put(self, local_path, remote_path, is_multipart=is_multipart, **options)

        if hooks.current is not None and hooks.current.take(str(local_path), str(remote_path), upload):
            return remote_path
        return upload()

    return type("FileAccess", (base,), {"get_data": get_data, "put_data": put_data})


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
