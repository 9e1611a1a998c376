"""What a worker is told when it starts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OWN_VARIABLES = "WINGBEAT_"
"""Variables of Wingbeat's own processes, which are no business of tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Times in seconds."""

    name: str
    """For people."""
    slots: int
    """Tasks at once."""
    python: str
    """Interpreter that tasks run under; it holds flytekit."""
    images: Sequence[str] = ()
    """Images whose tasks it runs; none: those that the installation maps to no environment of their own."""
    task_types: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    cpus: float = 0.0
    """What one task may use; 0: not known."""
    memory_bytes: int = 0
    recycle_tasks: int = 1_000
    """A child is replaced after so many tasks."""
    recycle_memory_bytes: int = 256 << 20
    """A child is replaced when it has grown by so much."""
    drain_s: float = 30.0
    """How long tasks may go on once the worker is asked to stop."""
    kill_grace_s: float = 5.0
    """Between the polite and the final signal to an aborted task."""
    orphan_s: float = 60.0
    """How long tasks go on whose engine is gone, in case another one takes them up."""
    ended_s: float = 900.0
    """How long it is remembered how a task ended whose engine has not said that it knows."""
    log_bytes_max: int = 64 << 20
    """Of each stream of an attempt; what follows is left out."""
    base_env: Mapping[str, str] = field(default_factory=lambda: task_variables(os.environ))
    """What tasks find in their environment before all that they ask for."""


def task_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment as tasks may see it."""
    return {key: value for key, value in environment.items() if not key.startswith(OWN_VARIABLES)}
