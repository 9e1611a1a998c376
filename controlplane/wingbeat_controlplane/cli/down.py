"""`wingbeat down`: stop the installation of a data folder."""

import signal
import time
from typing import Annotated

import typer

from wingbeat.cli.output import fail, say
from wingbeat_controlplane.cli.settings_flags import flags_of, settings_or_fail
from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity


def down(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation; by default ~/.wingbeat.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 90.0,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Stop Wingbeat: calls under way finish, transitions are written, nothing stays running."""
    folder = DataFolder(settings_or_fail(flags_of(data_dir=data_dir), config).settings.data_dir)
    holder = folder.holder()
    process = ProcessIdentity.of(holder.pid) if holder is not None else None
    if process is None:
        say(f"Wingbeat does not run on {folder.path}; nothing to stop.")
        return
    began = time.monotonic()
    try:
        process.send(signal.SIGTERM)
    except PermissionError:
        fail(f"the supervisor (pid {process.pid}) belongs to another user")
    if not process.wait(timeout):
        fail(f"the supervisor (pid {process.pid}) still runs after {timeout:.0f} s; its log is in {folder.logs}")
    say(f"Stopped Wingbeat on {folder.path} (pid {process.pid}) in {time.monotonic() - began:.1f} s.")
