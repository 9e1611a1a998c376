"""One attempt of a raw container from beginning to end: paths, inputs, program, outputs.

Whatever goes wrong with the files is told by error.pb, as a Python task would tell it; a program that fails by itself
fails the attempt by its exit code, unless it left an `_ERROR` file, whose text says more.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flyteidl.core import errors_pb2, execution_pb2

from wingbeat_propeller.container_files import CopilotJob, is_inside
from wingbeat_propeller.copilot import mounts
from wingbeat_propeller.copilot.command import CommandEnd, end_likewise, run_command
from wingbeat_propeller.copilot.copy_in import copy_in
from wingbeat_propeller.copilot.copy_out import copy_out, reported_error
from wingbeat_propeller.copilot.layout import UnsupportedLiteralError
from wingbeat_propeller.copilot.local_paths import INPUTS_VARIABLE, OUTPUTS_VARIABLE, Rewriting
from wingbeat_propeller.copilot.results import BadResultError
from wingbeat_propeller.copilot.transfer import StoreFailedError, Transfer, UnreachableError, open_transfer
from wingbeat_propeller.ports.blobs import BlobNotFoundError

INPUTS_FAILED = "InputDownloadFailed"
OUTPUTS_FAILED = "OutputUploadFailed"
PATHS_FAILED = "ContainerPathsNotPermitted"
PROGRAM_FAILED = "UserError"
"""The program left an `_ERROR` file."""

_USER = execution_pb2.ExecutionError.USER
_SYSTEM = execution_pb2.ExecutionError.SYSTEM


class _FailedError(Exception):
    """The attempt has failed; goes into error.pb. All but a machine that is set up wrongly may be tried again."""

    def __init__(self, code: str, message: str, *, origin: int = _USER, recoverable: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.origin = origin
        self.recoverable = recoverable


@dataclass(frozen=True, slots=True)
class _Folders:
    """The folders of the attempt as this process opens them, and as the program is told to."""

    inputs: str
    outputs: str
    shown_inputs: str
    shown_outputs: str
    rewriting: Rewriting | None


def run(job: CopilotJob) -> int:
    """Carry the job out; returns the exit code, or ends the process by the signal that ended the program.

    Raises StoreFailedError when not even the failure can be written down.
    """
    try:
        folders = _prepare(job)
        asyncio.run(_with_transfer(job, INPUTS_FAILED, lambda transfer: _bring_in(transfer, job, folders)))
        end = _run_program(job, folders)
        _raise_reported(folders)
        if not end.is_success:
            end_likewise(end)
        asyncio.run(
            _with_transfer(job, OUTPUTS_FAILED, lambda transfer: copy_out(transfer, job.files, folders.outputs))
        )
    except _FailedError as failure:
        sys.stderr.write(f"wingbeat: {failure}\n")
        asyncio.run(_report(job, failure))
    return 0


def _prepare(job: CopilotJob) -> _Folders:
    """Make the folders and settle what the program calls them."""
    files = job.files
    inputs, outputs = (os.path.join(job.folder, name) for name in ("inputs", "outputs"))
    scratch = os.path.join(job.folder, "mounts")
    shutil.rmtree(job.folder, ignore_errors=True)  # of an earlier run of the same attempt
    for path in (inputs, outputs, scratch):
        os.makedirs(path)
    if job.paths != "rewritten":
        keep = [job.folder, sys.prefix, sys.base_prefix]
        if not is_inside(job.program, files.input_path):
            keep.append(job.program)
        if "folder" in job.store:
            keep.append(str(job.store["folder"]))
        try:
            mounts.enter({files.input_path: inputs, files.output_path: outputs}, scratch, keep=keep)
        except mounts.NotPermittedError as error:
            if job.paths == "mounted":
                text = (
                    f"{files.input_path} and {files.output_path} cannot be mounted for the task: {error}. Permit user "
                    'namespaces on this machine, or set local_runtime.container_paths = "rewritten"'
                )
                raise _FailedError(PATHS_FAILED, text, origin=_SYSTEM, recoverable=False) from error
            sys.stderr.write(
                f"wingbeat: no private mounts here ({error}), so {files.input_path} and {files.output_path} are "
                f"replaced in command and environment by {inputs} and {outputs}\n"
            )
        else:
            return _Folders(inputs, outputs, files.input_path, files.output_path, None)
    rewriting = Rewriting({files.input_path: inputs, files.output_path: outputs})
    return _Folders(inputs, outputs, inputs, outputs, rewriting)


async def _with_transfer(job: CopilotJob, code: str, work: Callable[[Transfer], Awaitable[None]]) -> None:
    """Do work that moves files; what hinders it becomes a failure with `code`."""
    try:
        async with open_transfer(job.store) as transfer:
            await work(transfer)
    except BlobNotFoundError as error:
        raise _FailedError(code, f"there is no file at {error}") from error
    except (UnreachableError, UnsupportedLiteralError, BadResultError) as error:
        raise _FailedError(code, str(error)) from error
    except (StoreFailedError, OSError) as error:
        raise _FailedError(code, str(error), origin=_SYSTEM) from error


async def _bring_in(transfer: Transfer, job: CopilotJob, folders: _Folders) -> None:
    await copy_in(transfer, job.files, folders.inputs, folders.shown_inputs)


def _run_program(job: CopilotJob, folders: _Folders) -> CommandEnd:
    program, argv, env = job.program, list(job.argv), dict(job.env)
    if folders.rewriting is not None:
        rewriting = folders.rewriting
        program, argv, env = rewriting.text(program), rewriting.argv(argv), rewriting.env(env)
    env = {INPUTS_VARIABLE: folders.shown_inputs, OUTPUTS_VARIABLE: folders.shown_outputs, **env}
    return run_command(program, argv, env)


def _raise_reported(folders: _Folders) -> None:
    try:
        text = reported_error(folders.outputs)
    except BadResultError as error:
        raise _FailedError(OUTPUTS_FAILED, str(error)) from error
    if text is not None:
        raise _FailedError(PROGRAM_FAILED, text or "the program left an empty _ERROR file")


async def _report(job: CopilotJob, failure: _FailedError) -> None:
    """Write error.pb."""
    error = errors_pb2.ContainerError(
        code=failure.code,
        message=str(failure),
        kind=errors_pb2.ContainerError.RECOVERABLE
        if failure.recoverable
        else errors_pb2.ContainerError.NON_RECOVERABLE,
        origin=failure.origin,  # pyright: ignore[reportArgumentType]
    )
    error.timestamp.FromNanoseconds(time.time_ns())
    document = errors_pb2.ErrorDocument(error=error)
    async with open_transfer(job.store) as transfer:
        await transfer.write(f"{job.files.output_prefix}/error.pb", document.SerializeToString())
