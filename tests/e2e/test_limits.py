"""`wingbeat limits` against a running installation, and tasks that keep to them."""

import json

import pytest
from tests.e2e.installation import Installation


@pytest.fixture(autouse=True)
def _no_limits_left(installation: Installation):
    """The installation is shared: leave it as it was."""
    yield
    installation.wingbeat("limits", "clear", "flytesnacks", "--data-dir", str(installation.data_dir), check=False)
    installation.wingbeat(
        "limits", "clear", "flytesnacks", "development", "--data-dir", str(installation.data_dir), check=False
    )


def _limits(installation: Installation, *arguments: str, check: bool = True) -> str:
    done = installation.wingbeat("limits", *arguments, "--data-dir", str(installation.data_dir), check=check)
    return done.stdout + done.stderr


def test_the_command(installation: Installation) -> None:
    """Limits are set, shown, changed in part and cleared; mistakes end with a sentence."""
    assert "weight none of its own, limit 3" in _limits(installation, "set", "flytesnacks", "--running-max", "3")
    _limits(installation, "set", "flytesnacks", "development", "--weight", "5")
    text = _limits(installation, "set", "flytesnacks", "development", "--running-max", "2")
    assert "flytesnacks/development: weight 5, limit 2" in text
    listed = _limits(installation, "list")
    assert "development" in listed
    states = json.loads(_limits(installation, "list", "-o", "json"))
    shares = {state["share"]["domain"]: state["share"] for state in states}
    assert (shares[""]["runningMax"], shares["development"]["weight"]) == (3, 5)
    assert "0 attempts hold slots" in _limits(installation, "slots", "flytesnacks")
    assert "no limit" in _limits(installation, "clear", "flytesnacks")
    assert "no share is set" in _limits(installation, "clear", "flytesnacks", check=False)
    assert "between 1 and 1000" in _limits(installation, "set", "flytesnacks", "--weight", "0", check=False)
    assert "say what to set" in _limits(installation, "set", "flytesnacks", check=False)
