"""Drives whatever batches nobody drives; each server runs one.

A batch whose driver is gone becomes free when its lease ends, and the next server that looks takes it. A driver that
fails (a database or blob store that does not answer) leaves its batch to be taken up again, here or elsewhere.
"""

import asyncio
import uuid

import asyncpg
import structlog

from wingbeat_controlplane.batches.driver import Driver, Driving, LostBatchError, fail_batch
from wingbeat_propeller.postgres.outages import DATABASE_ERRORS, outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.batches", "driver.sql")
_log = structlog.get_logger(__name__)

FAILURES_MAX = 3
"""Faults of ours after which a batch ends: it would be taken up for ever."""
LOOK_S = 1.0
"""How often free batches are looked for when nobody wakes the keeper."""


class BatchKeeper:
    """Claims batches and drives each in a task of its own."""

    def __init__(self, driving: Driving) -> None:
        self._driving = driving
        self._wake = asyncio.Event()
        self._driven: set[int] = set()
        self._failures: dict[int, int] = {}
        """Faults of ours in a row, without a row of the batch moved between them."""

    def wake(self) -> None:
        """A batch was made or goes on."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; batches are let go of then, so that others need not wait for the leases to end."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    while len(self._driven) < self._driving.options.driven_max:
                        with outages_as_oserror():
                            claimed = await self._driving.pool.fetchrow(
                                _SQL["claim"], self._driving.options.lease_s, list(self._driven)
                            )
                        if claimed is None:
                            break
                        self._driven.add(claimed["id"])
                        group.create_task(self._drive(claimed), name=f"batch {claimed['name']}")
                except OSError as error:
                    _log.warning("batches are looked for later", error=repr(error))
                self._wake.clear()
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _drive(self, claimed: asyncpg.Record) -> None:
        driver: Driver | None = None
        try:
            with outages_as_oserror():
                driver = Driver(self._driving, claimed)
                await driver.run()
        except LostBatchError:
            _log.debug("batch has ended or is driven elsewhere", batch=claimed["name"])
            self._failures.pop(claimed["id"], None)
        except asyncio.CancelledError:
            await self._let_go(claimed)
            raise
        except OSError as error:
            _log.warning("batch is taken up again", batch=claimed["name"], exc_info=error)
        except Exception as error:  # noqa: BLE001 (one batch's failure must not end the others)
            await self._failed(claimed, error, has_moved=driver is not None and driver.has_moved)
        else:
            self._failures.pop(claimed["id"], None)
        finally:
            self._driven.discard(claimed["id"])

    async def _failed(self, claimed: asyncpg.Record, error: Exception, *, has_moved: bool) -> None:
        """A fault of ours: the batch is taken up again, unless it comes to the same again and again."""
        failures = 1 if has_moved else self._failures.get(claimed["id"], 0) + 1
        self._failures[claimed["id"]] = failures
        incident = uuid.uuid4().hex[:12]
        _log.error("batch cannot be driven", batch=claimed["name"], incident=incident, times=failures, exc_info=error)
        if failures < FAILURES_MAX:
            return
        text = f"internal error {incident}; the server's log has the details"
        try:
            with outages_as_oserror():
                await fail_batch(self._driving.pool, claimed, text)
            del self._failures[claimed["id"]]
        except OSError as outage:
            _log.warning("batch ends later", batch=claimed["name"], error=repr(outage))

    async def _let_go(self, claimed: asyncpg.Record) -> None:
        try:
            await self._driving.pool.execute(_SQL["let_go"], claimed["id"], claimed["term"])
        except DATABASE_ERRORS as error:
            _log.debug("the lease of a batch ends by itself", batch=claimed["name"], error=repr(error))
