"""Executions with rows in every table, as they stood some days ago."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_propeller.core.ids import generated_name, shard_of

NOW = datetime.now(UTC)
PROJECT, DOMAIN = "flytesnacks", "development"

TABLES = (
    "executions",
    "execution_tags",
    "execution_search",
    "node_executions",
    "task_executions",
    "array_elements",
    "transitions",
    "signals",
    "tenant_slots",
    "retired_executions",
)


@dataclass
class Past:
    """Makes executions."""

    pool: asyncpg.Pool
    workflow: int

    async def execution(
        self,
        name: str,
        *,
        days: float,
        project: str = PROJECT,
        is_live: bool = False,
        nodes: int = 2,
        elements: int = 3,
        label: str = "",
        **columns: object,
    ) -> int:
        """One that ended so many days ago, or was launched then and still runs."""
        at = NOW - timedelta(days=days)
        values = {
            "project": project,
            "domain": DOMAIN,
            "name": name,
            "shard": shard_of(project, DOMAIN, name),
            "launch_entity": "launch_plan",
            "workflow_id": self.workflow,
            "spec": b"",
            "config": b"",
            "phase": 2 if is_live else 4,
            "created_at": at,
            "started_at": at,
            "ended_at": None if is_live else at,
            **columns,
        }
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        key: int = await self.pool.fetchval(
            f"INSERT INTO executions ({', '.join(values)}) VALUES ({places}) RETURNING id", *values.values()
        )
        await self.pool.execute("INSERT INTO execution_search VALUES ($1, '{}', '{}')", key)
        await self.pool.execute(
            "INSERT INTO execution_tags (execution_id, key, value) VALUES ($1, 'team', $2)", key, label
        )
        for node in range(nodes):
            node_id = f"n{node}"
            await self.pool.execute(
                "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at,"
                " updated_at) VALUES ($1, $2, $3, $2, $4, 3, $5, $5)",
                *(key, node_id, node, 7 if node else 2, at),
            )
            await self.pool.execute(
                "INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name,"
                " task_version, task_type, name, phase, created_at, updated_at)"
                " VALUES ($1, $2, 0, 'p', 'd', 't', 'v', 'python-task', $3, 3, $4, $4)",
                *(key, node_id, generated_name(name, node_id, 0), at),
            )
            await self.pool.execute(
                "INSERT INTO transitions (execution_id, node_id, phase, at) VALUES ($1, $2, 3, $3)",
                *(key, node_id, at),
            )
        await self.pool.execute(
            "INSERT INTO array_elements (execution_id, node_id, element, attempt, phase, system_failures, queued_at)"
            " SELECT $1, 'n1', element, 0, 3, 0, $2 FROM generate_series(0, $3::integer - 1) AS element",
            *(key, at, elements),
        )
        await self.pool.execute(
            "INSERT INTO signals (execution_project, execution_domain, execution_name, signal_id, type)"
            " VALUES ($1, $2, $3, 's', '')",
            *(project, DOMAIN, name),
        )
        await self.pool.execute(
            "INSERT INTO tenant_slots (execution_id, name, project, domain, node_id, attempt)"
            " VALUES ($1, 'a', $2, $3, 'n0', 0)",
            *(key, project, DOMAIN),
        )
        return key

    async def names(self) -> list[str]:
        """Executions that are left."""
        return [row["name"] for row in await self.pool.fetch("SELECT name FROM executions ORDER BY id")]

    async def counts(self) -> dict[str, int]:
        """Rows by table."""
        return {table: await self.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}

    async def rows_of(self, keys: Sequence[int]) -> int:
        """Rows of these executions in the tables that name them by their key."""
        tables = [table for table in TABLES if table not in ("executions", "signals")]
        counts = [
            await self.pool.fetchval(f"SELECT count(*) FROM {table} WHERE execution_id = ANY($1)", list(keys))
            for table in tables
        ]
        return sum(counts)


@pytest.fixture
async def past(pool: asyncpg.Pool) -> Past:
    """No executions yet."""
    workflow = await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('p', 'd', 'w', 'v1', '', '', '') RETURNING id"
    )
    return Past(pool, workflow)


@pytest.fixture
def policies(pool: asyncpg.Pool) -> PolicyStore:
    """The installation keeps executions for 30 days."""
    return PolicyStore(pool, ProjectStore(pool, RegistryOptions()), Policy(executions_days=30))
