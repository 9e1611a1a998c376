"""Launch plans that say what happens when their executions overlap, of one task that takes as long as it is told."""

import time
from pathlib import Path

from flytekit import LaunchPlan, current_context, task, workflow
from flytekit.models.common import Annotations
from flytekit.models.concurrency import ConcurrencyLimitBehavior, ConcurrencyPolicy


@task
def attend(folder: str, seconds: float) -> str:
    """Leaves lines when it starts and ends; with negative `seconds` it ends when nobody wants it any more."""
    name = str(current_context().execution_id.name)
    lines = Path(folder, "lines")
    with lines.open("a") as file:
        file.write(f"start {name}\n")
    time.sleep(seconds if seconds >= 0 else 3600)
    with lines.open("a") as file:
        file.write(f"end {name}\n")
    return name


@workflow
def attend_wf(folder: str, seconds: float) -> str:
    """One such task."""
    return attend(folder=folder, seconds=seconds)


queued = LaunchPlan.get_or_create(
    attend_wf,
    name="overlap.queued",
    annotations=Annotations({"wingbeat.dev/overlap": "queue"}),
)
replaced = LaunchPlan.get_or_create(
    attend_wf,
    name="overlap.replaced",
    annotations=Annotations({"wingbeat.dev/overlap": "replace"}),
    concurrency=ConcurrencyPolicy(max_concurrency=1, behavior=ConcurrencyLimitBehavior.SKIP),
)


@workflow
def family_wf(folder: str, seconds: float) -> tuple[str, str, str]:
    """Three children of a launch plan that lets one be alive at a time."""
    return (
        queued(folder=folder, seconds=seconds),
        queued(folder=folder, seconds=seconds),
        queued(folder=folder, seconds=seconds),
    )
