"""Every client plays every scenario of clients/conformance against a real installation."""

import subprocess
from pathlib import Path

import pytest
from tests.clients.players import PLAYERS, SCENARIOS, Player, play
from tests.e2e.installation import Installation, until

BUILDABLE = [player for player in PLAYERS if player.is_buildable]
HELLO_WORKFLOW = "hello_world.hello_world_wf"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("player", BUILDABLE, ids=lambda player: player.language)
def test_scenario(player: Player, scenario: Path, installation: Installation, manifest: str) -> None:
    """The client does what the scenario says."""

    def restart() -> None:
        installation.kill(["server"])
        until(installation.answers, what="a server that answers again")

    said = play(player, installation.endpoint, manifest, scenario, restart)
    assert said["ok"], f"{said['scenario']}: {said.get('error')}"


@pytest.mark.parametrize("player", BUILDABLE, ids=lambda player: player.language)
def test_example_of_the_readme(player: Player, installation: Installation) -> None:
    """The ten lines of each README run."""
    done = subprocess.run(
        [*player.hello, _address(player, installation.endpoint), HELLO_WORKFLOW],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Hello, " in done.stdout


def _address(player: Player, endpoint: str) -> str:
    return f"http://{endpoint}" if player.language == "typescript" else endpoint
