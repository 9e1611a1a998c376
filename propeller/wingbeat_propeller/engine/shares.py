"""What tenants get: weights in the fair queue and limits over the installation, looked up from the table of shares.

A share names a project and a domain of it, or the whole project (empty domain). Of the weights the most specific one
counts, so each domain of a project has the project's weight unless it has one of its own. Limits all hold at once: a
tenant stays below its own and the domains of a project together below the project's.
"""

from collections.abc import Iterable
from typing import TypeAlias

from wingbeat_propeller.engine.live import Tenant
from wingbeat_propeller.ports.slots import TenantShare

Scope: TypeAlias = tuple[str, str]
"""What a share is about: project and domain, the domain empty for the whole project."""


def scopes_of(tenant: Tenant) -> tuple[Scope, Scope]:
    """The scopes that a tenant is part of, its own first."""
    return tenant, (tenant[0], "")


class Shares:
    """All shares of one revision; immutable."""

    def __init__(self, shares: Iterable[TenantShare] = ()) -> None:
        self._weights = {(share.project, share.domain): share.weight for share in shares if share.weight is not None}
        self._limits = {
            (share.project, share.domain): share.running_max for share in shares if share.running_max is not None
        }

    def weight(self, tenant: Tenant) -> int:
        """Turns of a tenant in proportion to those of others, 1 to 1,000."""
        return next((self._weights[scope] for scope in scopes_of(tenant) if scope in self._weights), 1)

    def limits(self, tenant: Tenant) -> tuple[tuple[Scope, int], ...]:
        """The limits that hold for a tenant; none for most."""
        if not self._limits:
            return ()
        return tuple((scope, self._limits[scope]) for scope in scopes_of(tenant) if scope in self._limits)
