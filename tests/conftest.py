"""What every test needs."""

import asyncio
import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.guard import start_guard, stay_guarded
from tests.left_out import left_out

if "PYTEST_XDIST_WORKER" not in os.environ:  # its processes inherit this
    # flytekit makes temporary folders wherever it is imported, also by other conftests, and removes none: a run has one
    # place for all of them. Those of pytest stay where they are looked for after a failure. Sockets want a short name.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="wb-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

# A busy machine is no reason to fail: nothing here is judged by time.
settings.register_profile("wingbeat", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_report_header() -> str:
    """Say what is not tested, since nobody should have to look for what is missing."""
    missing = left_out()
    return f"LEFT OUT: {', '.join(missing)}" if missing else "nothing left out"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it again where everybody looks."""
    if missing := left_out():
        terminalreporter.section("LEFT OUT", sep="=", yellow=True)
        terminalreporter.write_line(", ".join(missing))


def pytest_sessionstart(session: pytest.Session) -> None:
    """In CI nothing is left out, and a run that is killed leaves nothing running. Raises UsageError."""
    if os.environ.get("CI") and (missing := left_out()):
        raise pytest.UsageError(f"CI must test all, and would leave out {', '.join(missing)}")
    scratch = Path(tempfile.gettempdir())
    if "PYTEST_XDIST_WORKER" in os.environ:
        stay_guarded(scratch)
    else:
        start_guard(scratch, session.config._tmp_path_factory.getbasetemp())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


def pytest_configure() -> None:
    """Have no implicit event loop: looptime asks for the current loop in synchronous tests as well, and the one that
    asyncio then makes would never be closed."""
    asyncio.set_event_loop(None)
    settings.load_profile("wingbeat")
