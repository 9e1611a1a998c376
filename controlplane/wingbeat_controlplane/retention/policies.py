"""Policies of projects and domains, as they are stored."""

import asyncpg

from wingbeat_controlplane.errors import invalid_argument, not_found
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.retention.policy import Policies, Policy
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.retention", "policies.sql")

DAYS_MAX = 36_500


class PolicyStore:
    """Reads and writes overrides. `default` is what the installation's settings say."""

    def __init__(self, pool: asyncpg.Pool, projects: ProjectStore, default: Policy) -> None:
        self._pool = pool
        self._projects = projects
        self.default = default

    async def all(self) -> Policies:
        """Every override."""
        rows = await self._pool.fetch(_SQL["list_policies"])
        return {(row["project"], row["domain"]): _policy(row) for row in rows}

    async def set(
        self, project: str, domain: str, policy: Policy, *, change_executions: bool, change_cache: bool
    ) -> Policy:
        """Create or change an override; other fields stay. Raises ApiError INVALID_ARGUMENT."""
        for days in (policy.executions_days, policy.cache_days):
            if days is not None and not 0 <= days <= DAYS_MAX:
                raise invalid_argument(f"{days} days: it is 0 (for ever) to {DAYS_MAX}")
        await self._projects.require_active(project, domain or None)
        row = await self._pool.fetchrow(
            _SQL["set_policy"],
            project,
            domain,
            policy.executions_days,
            policy.cache_days,
            change_executions,
            change_cache,
        )
        assert row is not None, "an upsert returns its row"
        return _policy(row)

    async def delete(self, project: str, domain: str) -> None:
        """Take an override away. Raises ApiError NOT_FOUND."""
        if await self._pool.fetchval(_SQL["delete_policy"], project, domain) is None:
            raise not_found("retention policy", f"{project}/{domain}" if domain else project)


def _policy(row: asyncpg.Record) -> Policy:
    return Policy(row["executions_days"], row["cache_days"])
