"""Shares of tenants: weights and limits of projects and their domains, and who holds the slots of a limit.

A change is one statement that notifies the engines; they read the table again and go by it at once. Slots are rows that
the engines write and delete (wingbeat_propeller/postgres/slots.py); here they are only shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import grpc

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.registry.identifiers import check_text
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_propeller.engine.dispatch.fair_queue import WEIGHT_MAX
from wingbeat_propeller.postgres.queries import load_queries

RUNNING_MAX_MAX = 1_000_000
"""Largest limit; no limit at all is none."""

_SQL = load_queries("wingbeat_controlplane.registry", "tenant_shares.sql")


@dataclass(frozen=True, slots=True)
class Share:
    """What a project (domain empty) or one domain of it gets; None: nothing is said here."""

    project: str
    domain: str
    weight: int | None
    running_max: int | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ShareState:
    """A share, the attempts that hold a slot of it, and the engines whose attempts wait for one."""

    share: Share
    running: int
    engines_waiting: int


@dataclass(frozen=True, slots=True)
class SlotHolder:
    """One attempt that counts against a limit."""

    project: str
    domain: str
    execution: str
    node_id: str
    attempt: int
    admitted_at: datetime


class TenantShareStore:
    """The shares of an installation."""

    def __init__(self, pool: asyncpg.Pool, projects: ProjectStore) -> None:
        self._pool = pool
        self._projects = projects

    async def set(
        self,
        project: str,
        domain: str,
        *,
        weight: int | None,
        running_max: int | None,
        change_weight: bool = True,
        change_running_max: bool = True,
    ) -> Share:
        """Create or change a share; what is not to be changed stays as it is. Raises ApiError INVALID_ARGUMENT."""
        await self._check_tenant(project, domain)
        if weight is not None and not 1 <= weight <= WEIGHT_MAX:
            raise invalid_argument(f"weight is {weight}: a weight is between 1 and {WEIGHT_MAX}")
        if running_max is not None and not 0 <= running_max <= RUNNING_MAX_MAX:
            raise invalid_argument(f"running_max is {running_max}: a limit is between 0 and {RUNNING_MAX_MAX}")
        if change_weight and change_running_max and weight is None and running_max is None:
            raise invalid_argument("the share says nothing: set weight or running_max, or delete the share")
        row = await self._pool.fetchrow(
            _SQL["set_share"], project, domain, weight, running_max, change_weight, change_running_max
        )
        assert row is not None, "there is one row with the revision"
        return _share(row)

    async def get(self, project: str, domain: str) -> ShareState:
        """One share. Raises ApiError NOT_FOUND."""
        row = await self._pool.fetchrow(_SQL["list_shares"], project, domain, "", True, 1)
        if row is None:
            raise _absent(project, domain)
        return _state(row)

    async def list(self, *, project: str, after: tuple[str, str], limit: int) -> Sequence[ShareState]:
        """Shares by project and domain from `after` on, of one project or, when that is empty, of all."""
        rows = await self._pool.fetch(_SQL["list_shares"], *after, project, False, limit)
        return [_state(row) for row in rows]

    async def delete(self, project: str, domain: str) -> None:
        """Take a share away. Raises ApiError NOT_FOUND."""
        if await self._pool.fetchval(_SQL["delete_share"], project, domain) is None:
            raise _absent(project, domain)

    async def holders(self, project: str, domain: str, *, limit: int) -> tuple[Sequence[SlotHolder], int]:
        """Attempts that hold slots of a project (domain empty) or one domain, oldest first, and how many there are."""
        rows = await self._pool.fetch(_SQL["list_slots"], project, domain, limit)
        holders = [
            SlotHolder(
                row["project"], row["domain"], row["execution"], row["node_id"], row["attempt"], row["admitted_at"]
            )
            for row in rows
        ]
        return holders, rows[0]["total"] if rows else 0

    async def _check_tenant(self, project: str, domain: str) -> None:
        check_text("project", project)
        if domain:
            await self._projects.require_active(project, domain)
        else:
            await self._projects.require_active(project, self._projects.domains()[0].id)


def _share(row: asyncpg.Record) -> Share:
    return Share(row["project"], row["domain"], row["weight"], row["running_max"], row["updated_at"])


def _state(row: asyncpg.Record) -> ShareState:
    return ShareState(_share(row), row["running"], row["engines_waiting"])


def _absent(project: str, domain: str) -> ApiError:
    whose = f"domain [{domain}] of project [{project}]" if domain else f"project [{project}]"
    return ApiError(grpc.StatusCode.NOT_FOUND, f"no share is set for {whose}")
