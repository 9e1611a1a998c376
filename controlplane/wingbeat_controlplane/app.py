"""Composition root: turns the name of a role and the settings into a running process.

Each role is one coroutine in `roles/` that builds its parts from the bottom up, announces itself ready, lives until
SIGTERM or SIGINT, and takes everything down in reverse. Only the code of the role that runs is loaded.
"""

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import TypeAlias, cast

import structlog
import uvloop

from wingbeat_controlplane.roles.options import ConfigurationError
from wingbeat_controlplane.roles.stopping import stop_on_signals
from wingbeat_controlplane.settings import Settings
from wingbeat_propeller.postgres.migrate import MigrationError

_log = structlog.get_logger(__name__)

Role: TypeAlias = Callable[[Settings, asyncio.Event], Coroutine[None, None, None]]

ROLES = {
    "server": "wingbeat_controlplane.roles.server:run_server",
    "propeller": "wingbeat_controlplane.roles.propeller:run_propeller",
    "migrate": "wingbeat_controlplane.roles.migrate:run_migrate",
}


def run_role(name: str, settings: Settings) -> int:
    """Run a role of `ROLES` to its end; returns the exit status."""
    module, _, attribute = ROLES[name].partition(":")
    try:
        role = cast("Role", getattr(importlib.import_module(module), attribute))
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
