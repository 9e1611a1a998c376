# ruff: noqa: N802 - rpcs carry the names of the protos
"""From launch to success of the hello world, as a client sees it, on a real installation.

    python -m loadtests.hello [--runs 50]

Starts `wingbeat up` on a temporary folder and free ports, registers `examples/hello_world.py` with flytekit's own
`pyflyte register`, and then, one execution at a time, measures from the CreateExecution call until GetExecution says
SUCCEEDED. The first run starts the task host and is told apart (`first_ms`). `stages_p50_ms` come from the times that
the server shows afterwards:

    launch   the CreateExecution call
    take_up  until the engine has it and reaches its node
    start    until the task's process runs, the commit before it included
    run      until it has ended
    finish   until the execution has ended, durably
    notice   until the client has seen it, polling every 2 ms (part of what is measured)

`bare_p50_ms` is the machine's own floor in the same run: fork a process that has flytekit loaded, run the same task in
it, wait (see bare_fork.py). `ratio` is the floor's share of what a user waits.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import grpc
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from loadtests.installation import DOMAIN, PROJECT, ROOT, installation, run_command

_EXAMPLE = ROOT / "examples" / "hello_world.py"
_POLL_S = 0.002
_RUN_S_MAX = 60.0
_ENDED = frozenset(
    {
        core_execution_pb2.WorkflowExecution.SUCCEEDED,
        core_execution_pb2.WorkflowExecution.FAILED,
        core_execution_pb2.WorkflowExecution.ABORTED,
        core_execution_pb2.WorkflowExecution.TIMED_OUT,
    }
)


class Admin(Protocol):
    """What is used of AdminService; its generated stub carries no types."""

    def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest
    ) -> execution_pb2.ExecutionCreateResponse: ...
    def GetExecution(self, request: execution_pb2.WorkflowExecutionGetRequest) -> execution_pb2.Execution: ...
    def ListLaunchPlans(self, request: common_pb2.ResourceListRequest) -> launch_plan_pb2.LaunchPlanList: ...
    def ListNodeExecutions(
        self, request: node_execution_pb2.NodeExecutionListRequest
    ) -> node_execution_pb2.NodeExecutionList: ...
    def ListTaskExecutions(
        self, request: task_execution_pb2.TaskExecutionListRequest
    ) -> task_execution_pb2.TaskExecutionList: ...


def register(folder: Path) -> None:
    """Register the hello world as a user does. Raises RuntimeError with what the command said."""
    run_command(
        *("pyflyte", "--config", str(folder / "flyte-config.yaml"), "register", "--version", "load"),
        *("--project", PROJECT, "--domain", DOMAIN, str(_EXAMPLE)),
    )


def launch_and_wait(admin: Admin, plan: identifier_pb2.Identifier, name: str) -> tuple[float, float, float]:
    """Run one execution; seconds until the launch was answered, seconds until success was seen, and when that was
    (since the epoch). Raises RuntimeError for any other end."""
    request = execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        name=name,
        spec=execution_pb2.ExecutionSpec(launch_plan=plan),
        inputs=_inputs(),
    )
    began = time.perf_counter()
    identifier = admin.CreateExecution(request).id
    launched_s = time.perf_counter() - began
    get = execution_pb2.WorkflowExecutionGetRequest(id=identifier)
    while time.perf_counter() - began < _RUN_S_MAX:
        execution = admin.GetExecution(get)
        if execution.closure.phase in _ENDED:
            took_s = time.perf_counter() - began
            if execution.closure.phase != core_execution_pb2.WorkflowExecution.SUCCEEDED:
                raise RuntimeError(f"execution {name} did not succeed: {execution.closure.error.message}")
            return launched_s, took_s, time.time()
        time.sleep(_POLL_S)
    raise RuntimeError(f"execution {name} has not ended after {_RUN_S_MAX} s")


def stages_ms(admin: Admin, name: str, launched_s: float, noticed_at: float) -> dict[str, float]:
    """Where the time of an ended execution went, in milliseconds by stage."""
    identifier = identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)
    execution = admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=identifier)).closure
    nodes = admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=identifier, limit=10)
    ).node_executions
    [node] = [node for node in nodes if node.id.node_id not in ("start-node", "end-node")]
    [task] = admin.ListTaskExecutions(
        task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=10)
    ).task_executions
    created = _seconds(execution.created_at)
    reached = _seconds(node.closure.created_at)
    started = _seconds(task.closure.started_at)
    task_ended = started + task.closure.duration.ToMicroseconds() / 1e6
    ended = _seconds(execution.started_at) + execution.duration.ToMicroseconds() / 1e6
    seconds = {
        "launch": launched_s,
        "take_up": reached - created,
        "start": started - reached,
        "run": task_ended - started,
        "finish": ended - task_ended,
        "notice": noticed_at - ended,
    }
    return {stage: value * 1000 for stage, value in seconds.items()}


def bare_ms(folder: Path, runs: int) -> Sequence[float]:
    """Milliseconds of fork and run of the same task without anything else."""
    inputs = folder / "inputs.pb"
    inputs.write_bytes(_inputs().SerializeToString())
    said = run_command(
        *("python", "-m", "loadtests.bare_fork", str(_EXAMPLE.parent), _EXAMPLE.stem, "greet", str(inputs)),
        *(str(folder / "bare"), str(runs)),
    )
    times: Sequence[float] = json.loads(said.splitlines()[-1])
    return times


def measure(runs: int) -> dict[str, object]:
    """Start, register, run, compare; returns what is printed."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-hello-"))
    try:
        with installation(folder / "data") as endpoint, grpc.insecure_channel(endpoint) as channel:
            admin = cast("Admin", AdminServiceStub(channel))
            register(folder / "data")
            plan = _launch_plan(admin)
            first_s = launch_and_wait(admin, plan, "hello-first")[1]
            times = [launch_and_wait(admin, plan, f"hello-{number}") for number in range(runs)]
            stages = [
                stages_ms(admin, f"hello-{number}", launched_s, noticed_at)
                for number, (launched_s, _, noticed_at) in enumerate(times)
            ]
        bare = bare_ms(folder, runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    took_ms = [took_s * 1000 for _, took_s, _ in times]
    p50 = statistics.median(took_ms)
    return {
        "runs": runs,
        "p50_ms": round(p50, 1),
        "p99_ms": round(_percentile(took_ms, 99), 1),
        "min_ms": round(min(took_ms), 1),
        "first_ms": round(first_s * 1000, 1),
        "stages_p50_ms": {stage: round(statistics.median(one[stage] for one in stages), 1) for stage in stages[0]},
        "bare_p50_ms": round(statistics.median(bare), 1),
        "bare_p99_ms": round(_percentile(bare, 99), 1),
        "ratio": round(statistics.median(bare) / p50, 3),
    }


def _launch_plan(admin: Admin) -> identifier_pb2.Identifier:
    plans = admin.ListLaunchPlans(
        common_pb2.ResourceListRequest(id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN), limit=100)
    ).launch_plans
    [plan] = [plan.id for plan in plans if plan.id.name.endswith("hello_world_wf")]
    return plan


def _inputs() -> literals_pb2.LiteralMap:
    name = literals_pb2.Primitive(string_value="Wingbeat")
    return literals_pb2.LiteralMap(literals={"name": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=name))})


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.ToMicroseconds() / 1e6


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.hello", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    print(json.dumps(measure(parser.parse_args().runs)))


if __name__ == "__main__":
    main()
