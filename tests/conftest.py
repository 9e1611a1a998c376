"""What every test needs."""

import asyncio


def pytest_configure() -> None:
    """Have no implicit event loop: looptime asks for the current loop in synchronous tests as well, and the one that
    asyncio then makes would never be closed."""
    asyncio.set_event_loop(None)
