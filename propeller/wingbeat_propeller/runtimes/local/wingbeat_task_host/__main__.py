"""Start a task host: `python <this folder>/__main__.py <HostConfig as JSON>`.

Returns once the host listens on its socket (status 0, also when a live host has the socket already); the host itself
goes on in a process of its own.
"""

import json
import os
import sys


def main() -> int:
    """Import the package by its place on disk, leaving no trace of that on the path that tasks will see."""
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from wingbeat_task_host.server import start  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    del sys.path[0]
    return start(json.loads(sys.argv[1]))  # pyright: ignore[reportUnknownVariableType]


if __name__ == "__main__":
    raise SystemExit(main())
