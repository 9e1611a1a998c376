"""What an installation decides about workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

WithoutWorker: TypeAlias = Literal["fall_back", "wait"]
"""What becomes of a task that only a worker that is not there could run: it runs as a process of this machine, or
waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPoolOptions:
    """Times in seconds."""

    state_dir: Path
    """Where logs are kept, as those of local tasks are."""
    logs_url_base: str
    """Log links are `<base>/<attempt>/stdout.log`."""
    environments: Mapping[str, str] = field(default_factory=dict[str, str])
    """Images that have an environment of their own on this machine; a worker runs their tasks only if it names them."""
    extra_env: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the installation adds to every task, after all that task and execution ask for."""
    store_env: Mapping[str, str] = field(default_factory=dict[str, str])
    """What tasks need to reach the blob store, before all that they ask for."""
    lease_s: float = 6.0
    """A worker is lost when nothing is heard of it for so long."""
    adopt_grace_s: float = 1.5
    """How long an engine that has just started waits for workers before attempts that it does not know are launched."""
    slots_max: int = 1_024
    """Slots of one worker that count, whatever it says."""
    workers_max: int = 256
    """More are refused."""
    log_bytes_max: int = 64 << 20
    """Kept of each stream of an attempt."""
    without_worker: WithoutWorker = "fall_back"
    without_worker_of: Mapping[str, WithoutWorker] = field(default_factory=dict[str, WithoutWorker])
    """By project, where that differs."""

    def policy(self, project: str) -> WithoutWorker:
        """What holds for a project."""
        return self.without_worker_of.get(project, self.without_worker)
