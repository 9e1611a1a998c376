"""What is handed over for one task: inputs that came with it, and results that go with its report.

flytekit reads inputs.pb and writes its results as files of a folder which it then asks to upload. Here both stay in
memory. When more than outputs.pb or error.pb was written, or one of them is large, all of it is written and uploaded,
as a container would have done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

INLINE_BYTES_MAX = 64 << 10
"""Largest outputs.pb or error.pb that goes with the report; the engine keeps no larger ones in a row either."""


class _Result(Protocol):
    outputs: bytes | None
    error: bytes | None
    files: bool


class Exchange:
    """See the module. `results_folder` is where flytekit believes to write its results."""

    def __init__(self, inputs: bytes | None, results_folder: str) -> None:
        self.sets_up = False
        """flytekit is making the folders of the task."""
        self._inputs = inputs
        self._inputs_path = ""
        self._inputs_local = ""
        self._output_prefix = ""
        self._folder = results_folder
        self._results: dict[str, bytes] = {}
        self._upload: Callable[[], object] | None = None
        self._wrote_more = False

    def expect(self, inputs_path: str, output_prefix: str) -> None:
        """The paths that the command line names."""
        self._inputs_path = inputs_path
        self._output_prefix = output_prefix

    @property
    def has_results(self) -> bool:
        """Whether flytekit has asked to upload its results."""
        return self._upload is not None

    def give(self, remote: str, local: str) -> bool:
        """Whether the file `remote` is the inputs that came with the task; they can be read at `local` then."""
        if self._inputs is None or remote != self._inputs_path:
            return False
        self._inputs_local = local
        return True

    def read(self, local: str) -> bytes | None:
        """The inputs, if that is where they can be read."""
        return self._inputs if local == self._inputs_local else None

    def write(self, local: str, content: bytes) -> bool:
        """Keep a result, if that is one."""
        folder, name = os.path.split(local)
        if folder != self._folder:
            return False
        self._results[name] = content
        return True

    def take(self, local: str, remote: str, upload: Callable[[], object]) -> bool:
        """Put the upload of the results off, if that is what is asked for."""
        if not self._output_prefix:
            return False
        if local == self._folder and remote.startswith(self._output_prefix):  # legacy maps append the index themselves
            self._upload = upload
            return True
        if remote.startswith(self._output_prefix):
            self._wrote_more = True
        return False

    def settle(self, result: _Result) -> None:
        """Hand over what the task has left, or upload it."""
        if self._upload is None:
            result.files = True  # it has written for itself, or nothing at all
            return
        names = list(self._results)
        if not self._wrote_more and names in (["outputs.pb"], ["error.pb"]):
            content = self._results[names[0]]
            if len(content) <= INLINE_BYTES_MAX:
                if names[0] == "outputs.pb":
                    result.outputs = content
                else:
                    result.error = content
                return
        self._write_and_upload(self._upload)
        result.files = True

    def _write_and_upload(self, upload: Callable[[], object]) -> None:
        os.makedirs(self._folder, exist_ok=True)
        for name, content in self._results.items():
            with open(os.path.join(self._folder, name), "wb") as file:
                file.write(content)
        upload()
