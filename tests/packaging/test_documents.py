"""Documents name only what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    ROOT,
    ROOT / "clients/python/wingbeat",
    ROOT / "catalog/wingbeat_catalog",
    ROOT / "controlplane/wingbeat_controlplane",
    ROOT / "controlplane/wingbeat_controlplane/executions",
    ROOT / "propeller/wingbeat_propeller",
    ROOT / "propeller/wingbeat_propeller/postgres",
    ROOT / "propeller/wingbeat_propeller/runtimes/local",
)
_PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+(?:\.(?:py|sql|proto|md)|/))`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_paths_exist(document: str) -> None:
    """Every path in backquotes and every link to a file leads somewhere."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lost = [
        path
        for path in (*_PATH.findall(text), *_LINK.findall(text))
        if not any((package / path).exists() for package in PACKAGES)
    ]
    assert not lost
