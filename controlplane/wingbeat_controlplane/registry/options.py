"""What an installation lets users register."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Limits and names of the registry."""

    domains: tuple[str, ...] = ("development", "staging", "production")
    """Every project has these; id and name are the same."""
    node_limit: int = 100
    """Most nodes of a workflow, start and end not counted; 0 means no limit."""
    resource_limits: Mapping[str, str] = field(default_factory=dict[str, str])
    """Most that a task may ask for: Kubernetes quantity by resource (`cpu`, `gpu`, `memory`, `storage`,
    `ephemeral_storage`); a resource that is absent has no limit."""
