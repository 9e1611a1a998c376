"""Documents name only what exists."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    ROOT,
    ROOT / "clients/python",
    ROOT / "clients/python/wingbeat",
    ROOT / "catalog/wingbeat_catalog",
    ROOT / "controlplane/wingbeat_controlplane",
    ROOT / "controlplane/wingbeat_controlplane/executions",
    ROOT / "propeller/wingbeat_propeller",
    ROOT / "propeller/wingbeat_propeller/engine",
    ROOT / "propeller/wingbeat_propeller/postgres",
    ROOT / "propeller/wingbeat_propeller/runtimes/local",
    ROOT / "tests/simulation",
)
_PATH = re.compile(r"`((?:[\w.-]+/)*[\w-]+(?:\.(?:py|sql|proto|md)|/))`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: str) -> None:
    """Every path in backquotes and every link to a file leads somewhere."""
    text = (ROOT / document).read_text(encoding="utf-8")
    paths = [path for path in _PATH.findall(text) if not _exists(path, is_of_code="docs/" not in document)]
    links = [link for link in _LINK.findall(text) if not ((ROOT / document).parent / link.partition("#")[0]).exists()]
    assert not paths + links


def _exists(path: str, *, is_of_code: bool) -> bool:
    """A path, or a module named with dots; folders in documents for users are those of a blob store."""
    if path.endswith("/") and not is_of_code:
        return True
    if any((package / path).exists() for package in PACKAGES):
        return True
    return path.startswith("loadtests.") and find_spec(path) is not None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document: str) -> None:
    """Every module that a command of a document runs is there."""
    text = (ROOT / document).read_text(encoding="utf-8")
    modules = re.findall(r"python -m ((?:loadtests|tests|wingbeat)[\w.]*\w)", text)
    assert not [name for name in modules if find_spec(name) is None]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_of_make_exist(document: str) -> None:
    """Every target that a document has one make is there."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = re.findall(r"`make ([\w-]+)", (ROOT / document).read_text(encoding="utf-8"))
    assert not set(said) - targets
