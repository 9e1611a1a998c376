"""How long things are kept: the installation's settings, overridden by project and domain. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FOREVER = 0
"""Days of what is never pruned."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Days that executions (after their end) and cache entries (after they were made or renewed) are kept; FOREVER:
    always; None: the next wider level says."""

    executions_days: int | None = None
    cache_days: int | None = None

    def over(self, wider: "Policy") -> "Policy":
        """This one where it says something, else `wider`."""
        return Policy(
            wider.executions_days if self.executions_days is None else self.executions_days,
            wider.cache_days if self.cache_days is None else self.cache_days,
        )


Policies = Mapping[tuple[str, str], Policy]
"""Overrides by project and domain; domain '' is the whole project."""


@dataclass(frozen=True, slots=True)
class Due:
    """What of one project and domain may go: what ended, or was made, before these instants; None: nothing."""

    project: str
    domain: str
    executions_before: datetime | None
    cache_before: datetime | None


def effective(project: str, domain: str, overrides: Policies, default: Policy) -> Policy:
    """What holds for a project and domain: its own override, the project's, the installation's setting."""
    none = Policy()
    own, wider = overrides.get((project, domain), none), overrides.get((project, ""), none)
    return own.over(wider).over(default)


def due(scopes: Sequence[tuple[str, str]], overrides: Policies, default: Policy, now: datetime) -> Sequence[Due]:
    """What may go of each of `scopes`; those of which nothing may are left out."""
    found: list[Due] = []
    for project, domain in scopes:
        policy = effective(project, domain, overrides, default)
        executions, cache = _before(policy.executions_days, now), _before(policy.cache_days, now)
        if executions is not None or cache is not None:
            found.append(Due(project, domain, executions, cache))
    return found


def _before(days: int | None, now: datetime) -> datetime | None:
    return now - timedelta(days=days) if days else None
