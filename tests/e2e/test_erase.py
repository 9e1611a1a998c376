"""`wingbeat erase`, `wingbeat gc` and `wingbeat retention` against a running installation."""

import json
from pathlib import Path

from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation


def test_erased_without_a_trace(installation: Installation, client: Client) -> None:
    """A dry run tells what would go; then no file below the data folder bears the execution's name, and nobody knows
    it any more."""
    execution = succeeded(client.run("hello_world", "hello_world_wf", {"name": "Erased"}))
    name = execution.id.name
    folder = ("--data-dir", str(installation.data_dir))
    assert _traces(installation.data_dir, name)
    told = json.loads(installation.wingbeat("erase", name, "--dry-run", "-o", "json", *folder).stdout)
    assert int(told["rows"]["node_executions"]) == 3
    assert int(told["blobCount"]) > 0
    assert int(told["logCount"]) == 1
    done = installation.wingbeat("erase", name, "--yes", *folder).stdout
    assert done.startswith("1 executions are gone:")
    assert not _traces(installation.data_dir, name)
    gone = installation.wingbeat("erase", name, "--yes", *folder, check=False)
    assert gone.returncode == 1
    assert "missing entity" in gone.stderr
    asked = installation.wingbeat("sql", f"SELECT 1 FROM executions WHERE name = '{name}'", "-o", "json", *folder)
    assert asked.stdout == ""


def test_garbage(installation: Installation, client: Client) -> None:
    """A dry run of the collection lists nothing young, and what is young cannot be asked for."""
    succeeded(client.run("hello_world", "hello_world_wf", {"name": "Kept"}))
    folder = ("--data-dir", str(installation.data_dir))
    assert (
        " blobs would go: 0 B, older than 2h"
        in installation.wingbeat("gc", "--dry-run", "--older-than", "2h", *folder).stdout
    )
    assert "0 of " in installation.wingbeat("gc", "--yes", "--project", "flytesnacks", *folder).stdout
    refused = installation.wingbeat("gc", "--dry-run", "--older-than", "0h", *folder, check=False)
    assert (refused.returncode, "younger" in refused.stderr) == (1, True)
    assert installation.wingbeat("gc", "--older-than", "soon", *folder, check=False).returncode == 2


def test_policies(installation: Installation) -> None:
    """A policy is set, shown and taken away."""
    folder = ("--data-dir", str(installation.data_dir))
    installation.wingbeat("retention", "set", "flytesnacks", "staging", "--executions-days", "9", *folder)
    assert "9 days" in installation.wingbeat("retention", "list", *folder).stdout
    installation.wingbeat("retention", "clear", "flytesnacks", "staging", *folder)
    assert "9 days" not in installation.wingbeat("retention", "list", *folder).stdout


def _traces(folder: Path, name: str) -> list[str]:
    """Blobs and folders of tasks that bear an execution's name."""
    places = (folder / "blobs", folder / "local")
    return [str(path) for place in places for path in place.rglob("*") if name in path.name]
