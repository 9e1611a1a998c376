"""What every test needs."""

import asyncio

from hypothesis import HealthCheck, settings

from tests.clients.players import left_out

# A busy machine is no reason to fail: nothing here is judged by time.
settings.register_profile("wingbeat", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_report_header() -> str:
    """Say which clients are not tested, since nobody should have to look for what is missing."""
    return left_out()


def pytest_configure() -> None:
    """Have no implicit event loop: looptime asks for the current loop in synchronous tests as well, and the one that
    asyncio then makes would never be closed."""
    asyncio.set_event_loop(None)
    settings.load_profile("wingbeat")
