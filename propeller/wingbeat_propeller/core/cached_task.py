"""What the cache knows a task or a sub-workflow by: everything that its keys depend on but the inputs of a call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CachedTask:
    """A task of a plan, or a workflow that nodes of it run as a whole, whose outputs may be kept. One object for all
    calls of a node, so what is computed of it alone may be kept by it; two of them are the same only if they are one
    object."""

    project: str
    domain: str
    name: str
    version: str
    """Of the task or workflow; no part of the key."""
    cache_version: str
    interface: bytes
    """Serialized flyteidl.core.TypedInterface."""
    ignored_inputs: tuple[str, ...] = ()
    serialized: bool = False
    """Whether of several calls with one key only one is to run at a time."""
    is_workflow: bool = False
    """Workflows and tasks may share names, but no entries."""
