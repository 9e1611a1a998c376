"""The roles of an installation as processes: `python -m wingbeat_controlplane server|propeller|migrate`.

Settings come from the file and the environment (see `settings`). The exit status is 0 after a drain, 1 for an error,
which is the last line logged, and 2 for a wrong command line.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from wingbeat_controlplane.logging import LoggingOptions, choose_format, configure_logging
from wingbeat_controlplane.settings import SettingsError, load_settings

_ROLES = {
    "server": "serve the gRPC and HTTP interfaces",
    "propeller": "run executions",
    "migrate": "bring the database to this release's schema, then end",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one role until it is told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m wingbeat_controlplane", description=__doc__)
    parser.add_argument("role", choices=_ROLES, help="; ".join(f"{role}: {what}" for role, what in _ROLES.items()))
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
    from wingbeat_controlplane.app import run_role

    return run_role(role, settings)


if __name__ == "__main__":
    sys.exit(main())
