"""How a role process tells its supervisor that it is ready: one byte into a pipe that it inherited.

The number of the pipe is in the environment; a role that was started by hand has none and says nothing.
"""

import os

VARIABLE = "WINGBEAT_READY_FD"


def is_supervised() -> bool:
    """Whether a supervisor waits for `notify_ready`."""
    return VARIABLE in os.environ


def notify_ready() -> None:
    """Say `ready`, once; later calls do nothing."""
    number = os.environ.pop(VARIABLE, "")
    if not number.isdigit():
        return
    descriptor = int(number)
    try:
        os.write(descriptor, b"\n")
        os.close(descriptor)
    except OSError:
        return  # the supervisor is gone; so will we be
