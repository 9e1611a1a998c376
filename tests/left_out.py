"""What a run of the tests leaves out, since this machine has not the tools to build it. CI has all of them."""

import shutil

from tests.clients.players import LEFT_OUT

FLYTECTL_TOOL = "go"
"""What Flyte's own command line cannot be built without."""


def left_out() -> list[str]:
    """Each with the tool that is missing."""
    missing = [f"the {player.language} client (no {player.tool})" for player in LEFT_OUT]
    return missing if shutil.which(FLYTECTL_TOOL) else [*missing, f"flytectl (no {FLYTECTL_TOOL})"]
