"""What is kept of keys, and who begins first."""

from datetime import timedelta

import asyncpg
import pytest
from tests.integration.executions import entities
from tests.integration.launching.conftest import Client

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.children import open_children
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.launching.launch_keys import KeyPruner
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.priorities import stated_priority
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.plan import LaunchPlanSpec
from wingbeat_propeller.ports.children import ChildRequest
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
        assert [record.priority for record in found.records] == [9, 9, 5, 0, -1][:free]
    told = await store.told_executions(range(256), [record.execution for record in found.records])
    assert sorted(record.priority for record in told) == [-1, 0, 5, 9, 9]
    await pool.execute("UPDATE executions SET phase = 2, started_at = now()")
    live = await store.live_executions(range(256), after=0, limit=100)
    assert {record.name: record.priority for record in live}["annotated"] == 5


async def test_children_have_the_priority_of_their_parent(
    client: Client, pool: asyncpg.Pool, blobs: FolderBlobs
) -> None:
    """So that what belongs together is not held up by half of it."""
    await client.launch([item_pb2.LaunchItem(name="parent", priority=7)])
    parent = await pool.fetchval("SELECT id FROM executions")
    await pool.execute(
        "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at, updated_at)"
        " VALUES ($1, 'n0', 1, 'n0', 3, 2, now(), now())",
        parent,
    )
    children = open_children(pool, blobs, open_registry(pool, RegistryOptions()), ExecutionOptions())
    plan = LaunchPlanSpec(entities.PROJECT, entities.DOMAIN, "lp", "v1", ())
    inputs = entities.literals(text="hi").SerializeToString()
    await children.launch(
        ChildRequest(
            parent=parent,
            project=entities.PROJECT,
            domain=entities.DOMAIN,
            parent_name="parent",
            node_id="n0",
            name="child",
            launch_plan=plan,
            inputs=inputs,
        )
    )
    assert await pool.fetchval("SELECT priority FROM executions WHERE name = 'child'") == 7


@pytest.mark.parametrize("text", ["", "high", "101", "-101", "1.5", "٣"])
def test_what_is_no_priority(text: str) -> None:
    """It is refused, and said what is expected."""
    with pytest.raises(ApiError, match="from -100 to 100"):
        stated_priority({"wingbeat.dev/priority": text})
    assert stated_priority({}) is None
    assert stated_priority({"wingbeat.dev/priority": "-100"}) == -100
