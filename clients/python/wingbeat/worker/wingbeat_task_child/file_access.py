"""Where flytekit reads inputs.pb and writes results: bytes that come with the task and go with its report.

`make_file_access` extends flytekit's FileAccessProvider, which `pyflyte-execute` makes anew for each task. Everything
that is not the inputs or the result folder of the task under way goes to the store as ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol, cast

INLINE_BYTES_MAX = 64 << 10
"""Largest outputs.pb or error.pb that goes with the report; the engine keeps no larger ones in a row either."""

_current: Exchange | None = None


class _Result(Protocol):
    outputs: bytes | None
    error: bytes | None
    files: bool


class Exchange:
    """What is handed over for one task."""

    def __init__(self, inputs: bytes | None) -> None:
        self._inputs = inputs
        self._inputs_path = ""
        self._output_prefix = ""
        self._pending: tuple[str, Callable[[], object]] | None = None
        """The folder with results that flytekit has asked to upload, and how to do that."""
        self._wrote_more = False

    @contextmanager
    def open(self) -> Generator[None]:
        """It is the one of the task under way for the time of the block."""
        global _current  # noqa: PLW0603 - one task at a time runs in a child
        _current = self
        try:
            yield
        finally:
            _current = None

    def expect(self, inputs_path: str, output_prefix: str) -> None:
        """The paths that the command line names."""
        self._inputs_path = inputs_path
        self._output_prefix = output_prefix

    @property
    def has_pending(self) -> bool:
        """Whether results wait to be handed over."""
        return self._pending is not None

    def give(self, remote: str, local: str) -> bool:
        """Put the inputs into `local` if `remote` names them and they came with the task."""
        if self._inputs is None or remote != self._inputs_path:
            return False
        with open(local, "wb") as file:
            file.write(self._inputs)
        return True

    def take(self, local: str, remote: str, upload: Callable[[], object]) -> bool:
        """Keep the folder `local` for the report if `remote` is where results belong."""
        if not self._output_prefix:
            return False
        if remote == self._output_prefix and os.path.isdir(local):
            self._pending = (local, upload)
            return True
        if remote.startswith(self._output_prefix):
            self._wrote_more = True
        return False

    def settle(self, result: _Result) -> None:
        """Hand over what the task has left, or upload it."""
        if self._pending is None:
            result.files = True  # it has written for itself, or nothing at all
            return
        folder, upload = self._pending
        self._pending = None
        names = os.listdir(folder)
        if not self._wrote_more and names in (["outputs.pb"], ["error.pb"]):
            path = os.path.join(folder, names[0])
            if os.path.getsize(path) <= INLINE_BYTES_MAX:
                with open(path, "rb") as file:
                    content = file.read()
                if names[0] == "outputs.pb":
                    result.outputs = content
                else:
                    result.error = content
                return
        upload()
        result.files = True


class _FileAccess(Protocol):
    """What is used of flytekit's FileAccessProvider."""

    def get_data(self, remote_path: str, local_path: str, is_multipart: bool = False, **options: object) -> object: ...
    def put_data(
        self, local_path: object, remote_path: str, is_multipart: bool = False, **options: object
    ) -> object: ...


def make_file_access(base: type) -> type:
    """A FileAccessProvider that asks the exchange of the task under way first; `base` is flytekit's."""
    theirs = cast("type[_FileAccess]", base)
    theirs_get, theirs_put = theirs.get_data, theirs.put_data

    def get_data(
        self: _FileAccess, remote_path: str, local_path: str, is_multipart: bool = False, **options: object
    ) -> object:
        if _current is not None and _current.give(str(remote_path), str(local_path)):
            return local_path
        return theirs_get(self, remote_path, local_path, is_multipart=is_multipart, **options)

    def put_data(
        self: _FileAccess, local_path: object, remote_path: str, is_multipart: bool = False, **options: object
    ) -> object:
        def upload() -> object:
            return theirs_put(self, local_path, remote_path, is_multipart=is_multipart, **options)

        if _current is not None and _current.take(str(local_path), str(remote_path), upload):
            return remote_path
        return upload()

    return type("FileAccess", (base,), {"get_data": get_data, "put_data": put_data})
