"""The roles of an installation as processes: `python -m wingbeat_controlplane server|propeller|migrate`."""

import gc
import os
import sys


def main() -> int:
    """Run the role that the command line names; returns the exit status."""
    # Loading code makes many objects and no garbage; looking for some takes a quarter of the time. `app` turns it on.
    gc.disable()
    # None of ours, and looking for some reads the metadata of every installed distribution.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from wingbeat_controlplane.app import run_process

    return run_process()


if __name__ == "__main__":
    sys.exit(main())
