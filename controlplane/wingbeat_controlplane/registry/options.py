"""What an installation lets users register."""

from dataclasses import dataclass, field

from wingbeat_propeller.compiler.resources import PlatformResources


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Limits and names of the registry."""

    domains: tuple[str, ...] = ("development", "staging", "production")
    """Every project has these; id and name are the same."""
    node_limit: int = 100
    """Most nodes of a workflow, start and end not counted; 0 means no limit."""
    resources: PlatformResources = field(default_factory=PlatformResources)
    """Defaults and limits of tasks where no matchable attributes say otherwise."""
