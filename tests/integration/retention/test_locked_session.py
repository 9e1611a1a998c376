"""Work that one process does at a time."""

from contextlib import nullcontext

import pytest

from wingbeat_controlplane.retention.locked_session import locked_session

LOCK = 4711
LONG_EXIT = """
DO $$ BEGIN
    FOR number IN 1..50 LOOP EXECUTE format('CREATE TEMP TABLE t%s (x text PRIMARY KEY)', number); END LOOP;
END $$
"""
"""What the database clears away at the end of a connection, before it lets go of the connection's locks."""


@pytest.mark.parametrize("fails", [False, True])
async def test_one_at_a_time(database_url: str, fails: bool) -> None:
    """While one has the lock nobody else gets it; whoever comes behind its end or its failure does, though the database
    has not done with the connection yet."""
    with nullcontext() if not fails else pytest.raises(ValueError, match="broken"):
        async with locked_session(database_url, LOCK, application_name="first") as first:
            assert first is not None
            await first.execute(LONG_EXIT)
            async with locked_session(database_url, LOCK, application_name="second") as second:
                assert second is None
            if fails:
                raise ValueError("broken")
    async with locked_session(database_url, LOCK, application_name="third") as third:
        assert third is not None
