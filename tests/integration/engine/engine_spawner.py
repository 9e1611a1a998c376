"""Starts engine processes in milliseconds: everything is loaded once, and each engine is a fork.

`python -m tests.integration.engine.engine_spawner DSN FOLDER LEASE_S CAPACITY` answers each line on its input, the name
of an engine, with the pid of a new process. The engines share the processes of one machine: tasks are shell scripts
that the real task host forks, and outlive whoever launched them. See TASK for what a task does.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flyteidl.core import tasks_pb2

from tests.integration.engine.harness import make_engine
from wingbeat_propeller.ports.tasks import ContainerRequest, TaskContext
from wingbeat_propeller.postgres.pool import create_pool
from wingbeat_propeller.runtimes.local import LocalRuntime, LocalRuntimeOptions

TASK = """
: > "$RUNNING/$NAME"
set -- "$RUNNING"/*
echo "$NAME $#" >> "$SAMPLES"
sleep "$SECONDS_"
mkdir -p "$OUTPUT"
cp "$RESULT" "$OUTPUT/outputs.pb"
rm "$RUNNING/$NAME"
"""
"""Notes how many tasks of its tenant run now, itself included, takes its time, and succeeds."""


class ShellPlugin:
    """Every task is TASK; `folder` holds what the tasks leave behind, a folder for each domain."""

    task_types: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No."""
        return False

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> ContainerRequest:
        """How long it takes follows from its name."""
        folder = self._folder / context.execution_domain
        env = {
            "RUNNING": str(folder / "running"),
            "SAMPLES": str(folder / "samples"),
            "NAME": context.name,
            "SECONDS_": f"0.{1 + sum(context.name.encode()) % 9}",
            "OUTPUT": context.output_prefix,
            "RESULT": str(self._folder / "result.pb"),
        }
        return ContainerRequest(context.name, "any", ["/bin/sh", "-c", TASK], env, origin=context.origin)


async def _run(dsn: str, folder: Path, lease_s: float, capacity: int, name: str) -> None:
    runtime = LocalRuntime(
        LocalRuntimeOptions(
            state_dir=folder / "state", path="/usr/bin:/bin", logs_url_base="http://h/logs", capacity=capacity
        )
    )
    pool = await create_pool(dsn, size_max=6, application_name=f"engine {name}")
    plugin = ShellPlugin(folder)
    made = make_engine(pool, dsn, folder / "blobs", runtime, name=name, lease_s=lease_s, plugin=plugin, places=runtime)
    await made.run()


def main(dsn: str, folder: str, lease_s: str, capacity: str) -> None:
    """Fork an engine for each line until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(f"{folder}/engines.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            try:
                asyncio.run(_run(dsn, Path(folder), float(lease_s), int(capacity), line.strip()))
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
