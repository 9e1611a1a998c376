"""flytekit's access to files, as a child gives it to tasks: results stay in memory, and settings are read once."""

from __future__ import annotations

from typing import Any, Protocol, cast

from .exchange import Exchange

_KNOWN = frozenset(
    {
        *("_local_sandbox_dir", "_local", "_data_config", "_execution_metadata"),
        *("_default_protocol", "_default_remote", "_raw_output_prefix"),
    }
)
"""What flytekit's own keeps. All but the metadata and the prefix is the same for tasks with the same kind of prefix."""
_MODELS_MAX = 100


class Hooks(Protocol):
    """What is used of flytekit_hooks.Hooks."""

    current: Exchange | None


class _FileAccess(Protocol):
    """What is used of flytekit's FileAccessProvider."""

    def get_data(self, remote_path: str, local_path: str, is_multipart: bool = False, **options: object) -> object: ...
    def put_data(self, local_path: str, remote_path: str, is_multipart: bool = False, **options: object) -> object: ...
    def sep(self, file_system: object) -> str: ...


def derive(base: type, hooks: Hooks) -> type:
    """A FileAccessProvider that asks the exchange of the task under way first; `base` is flytekit's.

    Another one for the same folder and kind of store is made after the first, without reading the settings again: they
    come from the environment that all tasks of a child have in common.
    """
    theirs = cast("type[_FileAccess]", base)
    theirs_get, theirs_put = theirs.get_data, theirs.put_data
    models: dict[tuple[str, str], tuple[dict[str, Any], str, bool]] = {}

    def init(
        self: Any,
        local_sandbox_dir: str,
        raw_output_prefix: str,
        data_config: object = None,
        execution_metadata: object = None,
    ) -> None:
        own = cast("dict[str, Any]", vars(self))
        kind = str(local_sandbox_dir), _scheme(raw_output_prefix)
        model = models.get(kind) if data_config is None and execution_metadata is not None else None
        if model is not None:
            parts, separator, keeps_metadata = model
            own.update(parts)
            self._execution_metadata = execution_metadata if keeps_metadata else None
            ends = raw_output_prefix.endswith(separator)
            self._raw_output_prefix = raw_output_prefix if ends else raw_output_prefix + separator
            return
        cast("Any", base).__init__(self, local_sandbox_dir, raw_output_prefix, data_config, execution_metadata)
        parts = dict(own)
        if data_config is None and execution_metadata is not None and parts.keys() == _KNOWN:
            if len(models) >= _MODELS_MAX:
                models.clear()
            separator = cast("_FileAccess", self).sep(parts["_default_remote"])
            models[kind] = parts, separator, parts["_execution_metadata"] is not None

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

    return type("FileAccess", (base,), {"__init__": init, "get_data": get_data, "put_data": put_data})


def _scheme(prefix: str) -> str:
    """What decides which file system serves a prefix: `s3`, `file`; empty for a path."""
    return prefix.partition("://")[0] if "://" in prefix else ""
