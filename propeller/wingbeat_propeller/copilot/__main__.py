"""`python -m wingbeat_propeller.copilot`: runs the job that is on the standard input."""

import os
import sys

from wingbeat_propeller.container_files import CopilotJob
from wingbeat_propeller.copilot.run import run


def main() -> int:
    """The program itself is started with an empty standard input."""
    job = CopilotJob.from_json(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return run(job)


if __name__ == "__main__":
    sys.exit(main())
