"""Composition root: turns the name of a role and the settings into a running process.

Each role is one coroutine in `roles/` that builds its parts from the bottom up, announces itself ready, lives until
SIGTERM or SIGINT, and takes everything down in reverse. Only the code of the role that runs is loaded. Settings come
from the file and the environment (see `settings`). The exit status is 0 after a drain, 1 for an error, which is the
last line logged, and 2 for a wrong command line.
"""

import argparse
import asyncio
import gc
import importlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import structlog
import uvloop

from wingbeat_controlplane.logging import LoggingOptions, choose_format, configure_logging
from wingbeat_controlplane.roles.options import ConfigurationError
from wingbeat_controlplane.roles.stopping import stop_on_signals
from wingbeat_controlplane.settings import Settings, SettingsError, load_settings
from wingbeat_propeller.postgres.migrate import MigrationError

_log = structlog.get_logger(__name__)

Role: TypeAlias = Callable[[Settings, asyncio.Event], Coroutine[None, None, None]]

ROLES = {
    "server": "wingbeat_controlplane.roles.server:run_server",
    "propeller": "wingbeat_controlplane.roles.propeller:run_propeller",
    "migrate": "wingbeat_controlplane.roles.migrate:run_migrate",
}


_SUMMARIES = {
    "server": "serve the gRPC and HTTP interfaces",
    "propeller": "run executions",
    "migrate": "bring the database to this release's schema, then end",
}


def run_process(arguments: Sequence[str] | None = None) -> int:
    """Run the role that the command line names until it is told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m wingbeat_controlplane", description=__doc__)
    parser.add_argument("role", choices=ROLES, help="; ".join(f"{role}: {what}" for role, what in _SUMMARIES.items()))
    parser.add_argument("--config", type=Path, help="the settings file (default: wingbeat.toml in the data folder)")
    parsed = parser.parse_args(arguments)
    role: str = parsed.role
    try:
        settings = load_settings(config=parsed.config).settings
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  (no settings, no log)
        return 1
    configure_logging(
        LoggingOptions(
            role=settings.propeller.name or role if role == "propeller" else role,
            level=settings.logging.level,
            format=choose_format(settings.logging.format, sys.stdout),
        )
    )
    return run_role(role, settings)


def run_role(name: str, settings: Settings) -> int:
    """Run a role of `ROLES` to its end; returns the exit status."""
    module, _, attribute = ROLES[name].partition(":")
    try:
        role = cast("Role", getattr(importlib.import_module(module), attribute))
        gc.freeze()
        gc.enable()
        uvloop.run(_run(role, settings))
    except (ConfigurationError, MigrationError) as error:
        _log.error("cannot start", reason=str(error))
        return 1
    except Exception:  # noqa: BLE001  (the process ends here; its supervisor starts another and needs to know why)
        _log.exception("role failed")
        return 1
    return 0


async def _run(role: Role, settings: Settings) -> None:
    await role(settings, stop_on_signals())
