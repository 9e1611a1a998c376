"""What is kept of keys, and who begins first."""

from datetime import timedelta

import asyncpg
import pytest
from tests.integration.executions import entities
from tests.integration.launching.conftest import Client

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.launching.launch_keys import KeyPruner
from wingbeat_controlplane.registry.priorities import stated_priority
from wingbeat_propeller.ports.executions import Room
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeatidl.launch.v1 import item_pb2
from wingbeatidl.launch.v1.outcome_pb2 import LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING

DAY_S = 86_400


async def test_keys_are_kept_for_a_while(client: Client, pool: asyncpg.Pool) -> None:
    """A key younger than that is never pruned, and one that is older is free again."""
    items = [item_pb2.LaunchItem(idempotency_key=key) for key in ("old", "young")]
    await client.launch(items)
    old = await pool.fetchval("SELECT key FROM launch_keys ORDER BY key LIMIT 1")
    age = "UPDATE launch_keys SET created_at = now() - $2::interval WHERE (key = $1) = $3"
    await pool.execute(age, old, timedelta(days=8), True)
    await pool.execute(age, old, timedelta(days=6, hours=23), False)
    pruner = KeyPruner(pool, keep_s=7 * DAY_S)
    assert (await pruner.prune(), await pruner.prune()) == (1, 0)
    statuses = sorted(outcome.status for outcome in await client.launch(items))
    assert statuses == [LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING]


async def test_the_highest_priority_begins_first(client: Client, pool: asyncpg.Pool) -> None:
    """Also when an engine has room for few; among equals the oldest does."""
    annotated = entities.launch("annotated")
    annotated.spec.annotations.values["wingbeat.dev/priority"] = "5"
    await client.launch([item_pb2.LaunchItem(name=f"n{priority + 2}", priority=priority) for priority in (-1, 0, 9)])
    await client.launch([item_pb2.LaunchItem(name="late", priority=9)])
    await client.admin.CreateExecution(annotated)
    store = PostgresExecutionStore(pool, "")
    for free in (2, 10):
        room = Room(free=free, tenant_min=0, awaited=1, live={})
        found = await store.new_executions(range(256), known=[], limit=100, room=room)
        assert [record.name for record in found.records] == ["n11", "late", "annotated", "n2", "n1"][:free]


@pytest.mark.parametrize("text", ["", "high", "101", "-101", "1.5", "٣"])
def test_what_is_no_priority(text: str) -> None:
    """It is refused, and said what is expected."""
    with pytest.raises(ApiError, match="from -100 to 100"):
        stated_priority({"wingbeat.dev/priority": text})
    assert stated_priority({}) is None
    assert stated_priority({"wingbeat.dev/priority": "-100"}) == -100
