"""One attempt in a worker, and what an engine hears of it."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from wingbeat.worker.child import Child
from wingbeatidl.worker.v1 import worker_pb2


class Engine(Protocol):
    """Whom an attempt belongs to."""

    def started(self, report: worker_pb2.Started) -> None: ...
    def ended(self, report: worker_pb2.Ended) -> None: ...
    def output(self, chunk: worker_pb2.LogChunk) -> None: ...
    def returned(self, reference: worker_pb2.Reference) -> None: ...
    def slots_changed(self) -> None: ...


class Attempt:
    """One attempt."""

    def __init__(
        self, assignment: worker_pb2.Assignment, shared_env: Mapping[str, str] | None, engine: Engine | None
    ) -> None:
        self.assignment = assignment
        self.shared_env = shared_env
        """Environment of its code; None: the assignment has all of it."""
        self.reference = assignment.reference
        """As its engine knows it."""
        self.engine = engine
        self.child: Child | None = None
        """Which runs it, or will when its turn comes."""
        self.is_running = False
        self.came_at = asyncio.get_running_loop().time()
        self.started_at = 0.0
        self.announced = False
        self.report: worker_pb2.Ended | None = None
        """Set once it has ended."""
        self.stopped: worker_pb2.Exit | None = None
        """Why we are ending it."""
        self.timer: asyncio.TimerHandle | None = None
        self.logged = {"stdout": 0, "stderr": 0}
        self.name = assignment.reference.name
