"""Signals as the engine needs them: made when a gate begins to wait, read when somebody has set them."""

from collections.abc import Mapping

import asyncpg

from wingbeat_propeller.ports.signals import SignalKey
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "signals.sql")


class PostgresSignals:
    """Satisfies `ports.Signals`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def open(self, wanted: Mapping[SignalKey, bytes]) -> Mapping[SignalKey, bytes]:
        """See `ports.Signals.open`; one statement, whatever the number."""
        # In one order, so that two engines that make the same signals do not wait for each other in a ring.
        keys = sorted(wanted)
        with outages_as_oserror():
            rows = await self._pool.fetch(
                _SQL["open"],
                [key.project for key in keys],
                [key.domain for key in keys],
                [key.execution for key in keys],
                [key.signal_id for key in keys],
                [wanted[key] for key in keys],
            )
        return {SignalKey(r["project"], r["domain"], r["execution"], r["signal_id"]): r["value"] for r in rows}
