"""The rest of `wingbeat up` once its head start is made: logging, signals, and the supervisor until it ends."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable

from wingbeat.cli.output import say
from wingbeat_controlplane.cli.description import describe
from wingbeat_controlplane.logging import LoggingOptions, choose_format, configure_logging
from wingbeat_controlplane.settings import LoggingSettings
from wingbeat_controlplane.supervisor.child_keeper import ChildFailedError
from wingbeat_controlplane.supervisor.data_folder import DataFolder, State
from wingbeat_controlplane.supervisor.embedded_postgres import PostgresStartError
from wingbeat_controlplane.supervisor.head_start import POSTGRES, SUPERVISOR, HeadStart, SupervisorOptions
from wingbeat_controlplane.supervisor.log_sink import LogSink
from wingbeat_controlplane.supervisor.supervisor import DatabaseError, Supervisor


def supervise(
    folder: DataFolder,
    options: SupervisorOptions,
    start: HeadStart,
    logging: LoggingSettings,
    on_ready: Callable[[], None],
) -> str | None:
    """Run until SIGTERM or SIGINT; returns why the installation could not start, None after an orderly end."""
    log_format = choose_format(logging.format, sys.stdout)
    sink = LogSink(folder.logs, log_format, sys.stdout, quiet=[POSTGRES])
    configure_logging(LoggingOptions(SUPERVISOR, logging.level), lambda line: sink.write(SUPERVISOR, line))

    def tell(state: State) -> None:
        if log_format == "console":
            say(describe(state, folder))
        on_ready()

    async def run() -> None:
        supervisor = Supervisor(folder, options, start, sink)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        await supervisor.run(tell)

    gc.freeze()
    gc.enable()
    try:
        asyncio.run(run())
    except (PostgresStartError, DatabaseError, ChildFailedError) as error:
        return str(error)
    finally:
        sink.close()
    return None
