# ruff: noqa: N802 - rpcs carry the names of the protos
"""Trivial Python tasks through the local runtime and its zygote, on a real installation, beside bare forks.

    python -m loadtests.tasks [--tasks 1000] [--chains 20]

Starts `wingbeat up` on a temporary folder and registers `programs/trivial_workflows.py` with flytekit's own `pyflyte
register`. Then, from the CreateExecution call until GetExecution says SUCCEEDED:

    tasks_per_s             one execution that fans out into so many tasks: all are ready at once, so what is
                            measured is engine, queue, task host and the tasks themselves. The figure to compare.
    executions_tasks_per_s  as many executions of one task, launched one call after another and as fast as they are
                            answered: what a client reaches who launches instead of fanning out, server included.
    chain_ms                ten tasks one after another, the median of `chains` executions; `chain_stages_p50_ms` says
                            where the time of a node goes: from the end of the one before until its process runs, two
                            commits included (`handover`), and in its process (`run`).

`bare_...` is the machine's own limit in the same run: a process that has flytekit loaded forks, runs the same task in
each fork and waits (see bare_fork.py), with as many forks at once as the engine runs tasks (`at_once`), half of them
before the fan and half after it, and for `bare_chain_ms` ten times one after another. `ratio` is tasks_per_s by
bare_tasks_per_s; `chain_ratio` is chain_ms by bare_chain_ms, which is to stay under 3.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

import grpc
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from loadtests.installation import DOMAIN, PROJECT, ROOT, installation, run_command
from loadtests.shapes import integer

_PROGRAMS = ROOT / "loadtests" / "programs"
_CHAIN_TASKS = 10
_POLL_S = 0.002
_POLL_MANY_S = 0.02
_RUN_S_MAX = 600.0
_RUNNING = frozenset(
    {
        core_execution_pb2.WorkflowExecution.UNDEFINED,
        core_execution_pb2.WorkflowExecution.QUEUED,
        core_execution_pb2.WorkflowExecution.RUNNING,
        core_execution_pb2.WorkflowExecution.SUCCEEDING,
    }
)


class Admin(Protocol):
    """What is used of AdminService; its generated stub carries no types."""

    def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest
    ) -> execution_pb2.ExecutionCreateResponse: ...
    def GetExecution(self, request: execution_pb2.WorkflowExecutionGetRequest) -> execution_pb2.Execution: ...
    def ListNodeExecutions(
        self, request: node_execution_pb2.NodeExecutionListRequest
    ) -> node_execution_pb2.NodeExecutionList: ...
    def ListTaskExecutions(
        self, request: task_execution_pb2.TaskExecutionListRequest
    ) -> task_execution_pb2.TaskExecutionList: ...


def launch(admin: Admin, workflow: str, name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    """Start an execution of a workflow of `programs/trivial_workflows.py`."""
    plan = identifier_pb2.Identifier(
        resource_type=identifier_pb2.LAUNCH_PLAN,
        project=PROJECT,
        domain=DOMAIN,
        name=f"trivial_workflows.{workflow}",
        version="load",
    )
    spec = execution_pb2.ExecutionSpec(launch_plan=plan, max_parallelism=1_000_000)
    return admin.CreateExecution(
        execution_pb2.ExecutionCreateRequest(project=PROJECT, domain=DOMAIN, name=name, spec=spec, inputs=_inputs())
    ).id


def wait(admin: Admin, identifier: identifier_pb2.WorkflowExecutionIdentifier, poll_s: float) -> None:
    """Wait for success. Raises RuntimeError for any other end, and when there is none."""
    get = execution_pb2.WorkflowExecutionGetRequest(id=identifier)
    deadline = time.perf_counter() + _RUN_S_MAX
    while time.perf_counter() < deadline:
        closure = admin.GetExecution(get).closure
        if closure.phase == core_execution_pb2.WorkflowExecution.SUCCEEDED:
            return
        if closure.phase not in _RUNNING:
            raise RuntimeError(f"execution {identifier.name} did not succeed: {closure.error.message}")
        time.sleep(poll_s)
    raise RuntimeError(f"execution {identifier.name} has not ended after {_RUN_S_MAX} s")


def fan_s(admin: Admin) -> float:
    """Seconds that one execution takes whose tasks are all ready at once."""
    began = time.perf_counter()
    wait(admin, launch(admin, "fan", "fan"), _POLL_MANY_S)
    return time.perf_counter() - began


def executions_s(admin: Admin, tasks: int) -> float:
    """Seconds that so many executions of one task take."""
    began = time.perf_counter()
    for identifier in [launch(admin, "one", f"one-{number}") for number in range(tasks)]:
        wait(admin, identifier, _POLL_MANY_S)
    return time.perf_counter() - began


def chain_ms(admin: Admin, name: str) -> float:
    """Milliseconds that a chain takes."""
    began = time.perf_counter()
    wait(admin, launch(admin, "chain", name), _POLL_S)
    return (time.perf_counter() - began) * 1000


def chain_stages_ms(admin: Admin, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Of an ended chain: milliseconds from each process to the next one, and in each process."""
    execution = identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)
    nodes = admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution, limit=100)
    ).node_executions
    closures = [
        admin.ListTaskExecutions(task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=1))
        .task_executions[0]
        .closure
        for node in nodes
        if node.id.node_id not in ("start-node", "end-node")
    ]
    spans = sorted((_seconds(one.started_at), one.duration.ToMicroseconds() / 1e6) for one in closures)
    handovers = [(after[0] - before[0] - before[1]) * 1000 for before, after in pairwise(spans)]
    return handovers, [took * 1000 for _, took in spans]


def bare_ms(folder: Path, runs: int, at_once: int) -> Sequence[float]:
    """What bare_fork prints for the same task."""
    folder.mkdir()
    inputs = folder / "inputs.pb"
    inputs.write_bytes(_inputs().SerializeToString())
    said = run_command(
        *("python", "-m", "loadtests.bare_fork", str(_PROGRAMS), "trivial", "increment", str(inputs)),
        *(str(folder), str(runs), str(at_once)),
    )
    times: Sequence[float] = json.loads(said.splitlines()[-1])
    return times


def measure(tasks: int, chains: int) -> dict[str, object]:
    """Start, register, run, compare; returns what is printed."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-tasks-"))
    at_once = 2 * (os.cpu_count() or 1)
    try:
        settings = {"WINGBEAT_LOCAL_RUNTIME__CAPACITY": str(at_once), "WINGBEAT_REGISTRY__NODE_LIMIT": "0"}
        with installation(folder / "data", settings) as endpoint, grpc.insecure_channel(endpoint) as channel:
            admin = cast("Admin", AdminServiceStub(channel))
            _register(folder / "data", {"LOADTEST_TASKS": str(tasks)})
            chain_ms(admin, "chain-first")  # starts the task host
            chain = [chain_ms(admin, f"chain-{number}") for number in range(chains)]
            stages = [chain_stages_ms(admin, f"chain-{number}") for number in range(chains)]
            bare_chain = bare_ms(folder / "chain", chains * _CHAIN_TASKS, 1)
            [bare_before] = bare_ms(folder / "before", tasks // 2, at_once)
            fan = fan_s(admin)
            [bare_after] = bare_ms(folder / "after", tasks - tasks // 2, at_once)
            executions = executions_s(admin, tasks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bare = (bare_before + bare_after) / 1000
    bare_chain_ms = statistics.median(
        sum(bare_chain[start : start + _CHAIN_TASKS]) for start in range(0, len(bare_chain), _CHAIN_TASKS)
    )
    return {
        "tasks": tasks,
        "at_once": at_once,
        "tasks_per_s": round(tasks / fan, 1),
        "executions_tasks_per_s": round(tasks / executions, 1),
        "bare_tasks_per_s": round(tasks / bare, 1),
        "ratio": round(bare / fan, 3),
        "chains": chains,
        "chain_ms": round(statistics.median(chain), 1),
        "chain_stages_p50_ms": {
            "handover": round(statistics.median(one for handovers, _ in stages for one in handovers), 1),
            "run": round(statistics.median(one for _, runs in stages for one in runs), 1),
        },
        "bare_chain_ms": round(bare_chain_ms, 1),
        "chain_ratio": round(statistics.median(chain) / bare_chain_ms, 2),
    }


def _register(folder: Path, environment: Mapping[str, str]) -> None:
    run_command(
        *("pyflyte", "--config", str(folder / "flyte-config.yaml"), "register", "--version", "load"),
        *("--project", PROJECT, "--domain", DOMAIN, str(_PROGRAMS / "trivial_workflows.py")),
        environment=environment,
    )


def _inputs() -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={"value": integer(1)})


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.ToMicroseconds() / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.tasks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--chains", type=int, default=20)
    given = parser.parse_args()
    print(json.dumps(measure(given.tasks, given.chains)))


if __name__ == "__main__":
    main()
