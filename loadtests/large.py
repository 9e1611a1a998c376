# ruff: noqa: N802 - rpcs carry the names of the protos
"""One execution of very many nodes: registered as a workflow, made by a dynamic task, and taken up again after a kill.

    python -m loadtests.large [--nodes 100000]

Starts `wingbeat up` on a temporary folder without a limit of nodes, registers a workflow of that many `echo` nodes in
layers of `WIDTH` (each node reads one of the layer before, the last one gives the output) and runs it; then a program
that writes the same graph as a futures.pb; then the workflow once more, with the engine killed half-way.

    register_s          CreateWorkflow: the graph is compiled and stored
    static_s, ..._per_s from launch to SUCCEEDED
    dynamic_s           likewise, the program that makes the graph and its compilation included
    recover_s           from the kill to SUCCEEDED; `killed_after` nodes had ended by then
    propeller_rss_mib   most memory of the engine, seen every 50 ms

`ceiling_nodes_per_s` is a bare INSERT of as many node rows in one statement a thousand, each committed, in the same run
and database; `ratio` is static_nodes_per_s by it.
"""

import argparse
import asyncio
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

import asyncpg
import grpc
import psutil
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import (
    dynamic_job_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
)
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, database, installation, propeller

WIDTH = 1_000
_POLL_S = 0.05
_RUN_S_MAX = 900.0
_MESSAGE_BYTES_MAX = 512 << 20
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
_ANSWER = 42


class Admin(Protocol):
    """What is used of AdminService; its generated stub carries no types."""

    def CreateTask(self, request: task_pb2.TaskCreateRequest) -> task_pb2.TaskCreateResponse: ...
    def CreateWorkflow(self, request: workflow_pb2.WorkflowCreateRequest) -> workflow_pb2.WorkflowCreateResponse: ...
    def CreateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanCreateRequest
    ) -> launch_plan_pb2.LaunchPlanCreateResponse: ...
    def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest
    ) -> execution_pb2.ExecutionCreateResponse: ...
    def GetExecution(self, request: execution_pb2.WorkflowExecutionGetRequest) -> execution_pb2.Execution: ...
    def GetExecutionData(
        self, request: execution_pb2.WorkflowExecutionGetDataRequest
    ) -> execution_pb2.WorkflowExecutionGetDataResponse: ...


def echo_task() -> tasks_pb2.TaskTemplate:
    """A task that hands `x` on as `o0`, in the engine."""
    return tasks_pb2.TaskTemplate(
        id=_identifier(identifier_pb2.TASK, "large.echo"),
        type="echo",
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
    )


def layered(
    nodes: int, task: identifier_pb2.Identifier, first: literals_pb2.BindingData
) -> core_workflow_pb2.WorkflowTemplate:
    """A graph of `nodes` task nodes in layers; nodes of the first layer read `first`."""
    template = core_workflow_pb2.WorkflowTemplate()
    for number in range(nodes):
        node = template.nodes.add(id=f"n{number}", metadata=core_workflow_pb2.NodeMetadata(name=f"n{number}"))
        node.task_node.reference_id.CopyFrom(task)
        binding = first if number < WIDTH else _promise(f"n{number - WIDTH}", "o0")
        node.inputs.add(var="x", binding=binding)
        if number >= WIDTH:
            node.upstream_node_ids.append(f"n{number - WIDTH}")
    template.outputs.add(var="o0", binding=_promise(f"n{nodes - 1}", "o0"))
    return template


def register_static(admin: Admin, nodes: int) -> None:
    """The graph as a workflow with a launch plan."""
    task = echo_task()
    admin.CreateTask(task_pb2.TaskCreateRequest(id=task.id, spec=task_pb2.TaskSpec(template=task)))
    template = layered(nodes, task.id, _promise("", "x"))
    template.id.CopyFrom(_identifier(identifier_pb2.WORKFLOW, "large.static"))
    template.interface.inputs.CopyFrom(_variables("x"))
    template.interface.outputs.CopyFrom(_variables("o0"))
    admin.CreateWorkflow(
        workflow_pb2.WorkflowCreateRequest(id=template.id, spec=workflow_pb2.WorkflowSpec(template=template))
    )
    plan = launch_plan_pb2.LaunchPlanSpec(workflow_id=template.id, max_parallelism=10 * WIDTH)
    admin.CreateLaunchPlan(
        launch_plan_pb2.LaunchPlanCreateRequest(id=_identifier(identifier_pb2.LAUNCH_PLAN, "large.static"), spec=plan)
    )


def register_dynamic(admin: Admin, nodes: int, folder: Path) -> None:
    """A program that copies the graph, made beforehand, to where a dynamic task writes its futures."""
    echo = echo_task()
    literal = literals_pb2.BindingData(scalar=_answer().scalar)
    template = layered(nodes, echo.id, literal)
    spec = dynamic_job_pb2.DynamicJobSpec(nodes=template.nodes, tasks=[echo], outputs=template.outputs)
    futures = folder / "futures.pb"
    futures.write_bytes(spec.SerializeToString())
    task = tasks_pb2.TaskTemplate(
        id=_identifier(identifier_pb2.TASK, "large.dynamic"),
        type="python-task",
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
        container=tasks_pb2.Container(
            image="raw",
            args=["sh", "-c", 'mkdir -p "$0" && cp "$1" "$0/futures.pb"', "{{.outputPrefix}}", str(futures)],
        ),
    )
    admin.CreateTask(task_pb2.TaskCreateRequest(id=task.id, spec=task_pb2.TaskSpec(template=task)))


def launch(admin: Admin, kind: identifier_pb2.ResourceType, entity: str, name: str) -> None:
    """Start an execution."""
    admin.CreateExecution(
        execution_pb2.ExecutionCreateRequest(
            project=PROJECT,
            domain=DOMAIN,
            name=name,
            spec=execution_pb2.ExecutionSpec(launch_plan=_identifier(kind, entity), max_parallelism=10 * WIDTH),
            inputs=literals_pb2.LiteralMap(literals={"x": _answer()}),
        )
    )


class Watch:
    """Waits for ends, and looks at the engine's memory meanwhile."""

    def __init__(self, admin: Admin, folder: Path, dsn: str) -> None:
        self._admin = admin
        self._folder = folder
        self._dsn = dsn
        self.rss_bytes = 0

    def success(self, name: str) -> float:
        """Wait for an execution's success and right output; seconds. Raises RuntimeError for anything else."""
        began = time.perf_counter()
        get = execution_pb2.WorkflowExecutionGetRequest(id=_execution(name))
        while time.perf_counter() - began < _RUN_S_MAX:
            closure = self._admin.GetExecution(get).closure
            if closure.phase in (
                core_execution_pb2.WorkflowExecution.FAILED,
                core_execution_pb2.WorkflowExecution.ABORTED,
                core_execution_pb2.WorkflowExecution.TIMED_OUT,
            ):
                raise RuntimeError(f"execution {name} did not succeed: {closure.error.message}")
            if closure.phase == core_execution_pb2.WorkflowExecution.SUCCEEDED:
                took_s = time.perf_counter() - began
                self._check(name)
                return took_s
            self._look()
            time.sleep(_POLL_S)
        raise RuntimeError(f"execution {name} has not ended after {_RUN_S_MAX} s")

    def until_ended(self, name: str, nodes: int) -> int:
        """Wait until that many nodes of an execution have ended; how many."""
        while (ended := asyncio.run(_ended_nodes(self._dsn, name))) < nodes:
            self._look()
            time.sleep(_POLL_S)
        return ended

    def _check(self, name: str) -> None:
        request = execution_pb2.WorkflowExecutionGetDataRequest(id=_execution(name))
        outputs = self._admin.GetExecutionData(request).full_outputs
        if outputs.literals["o0"] != _answer():
            raise RuntimeError(f"execution {name} has the outputs {outputs}")

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.rss_bytes = max(self.rss_bytes, propeller(self._folder).memory_info().rss)


def measure(nodes: int) -> dict[str, object]:
    """Run all three; returns what is printed."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-large-"))
    data = folder / "data"
    environment = {"WINGBEAT_REGISTRY__NODE_LIMIT": "0", "WINGBEAT_SERVER__MESSAGE_BYTES_MAX": str(_MESSAGE_BYTES_MAX)}
    options = [("grpc.max_send_message_length", _MESSAGE_BYTES_MAX)]
    try:
        with (
            installation(data, environment) as endpoint,
            grpc.insecure_channel(endpoint, options=options) as channel,
        ):
            dsn = database(data)
            admin = cast("Admin", AdminServiceStub(channel))
            watch = Watch(admin, data, dsn)
            began = time.perf_counter()
            register_static(admin, nodes)
            register_s = time.perf_counter() - began
            launch(admin, identifier_pb2.LAUNCH_PLAN, "large.static", "static")
            static_s = watch.success("static")
            register_dynamic(admin, nodes, folder)
            launch(admin, identifier_pb2.TASK, "large.dynamic", "dynamic")
            dynamic_s = watch.success("dynamic")
            launch(admin, identifier_pb2.LAUNCH_PLAN, "large.static", "killed")
            killed_after = watch.until_ended("killed", nodes // 2)
            propeller(data).send_signal(signal.SIGKILL)
            recover_s = watch.success("killed")
            bare_s = asyncio.run(_bare_s(dsn, nodes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "nodes": nodes,
        "register_s": round(register_s, 2),
        "static_s": round(static_s, 2),
        "static_nodes_per_s": round(nodes / static_s),
        "dynamic_s": round(dynamic_s, 2),
        "dynamic_nodes_per_s": round(nodes / dynamic_s),
        "killed_after": killed_after,
        "recover_s": round(recover_s, 2),
        "propeller_rss_mib": round(watch.rss_bytes / 2**20),
        "ceiling_nodes_per_s": round(nodes / bare_s),
        "ratio": round(bare_s / static_s, 3),
    }


async def _ended_nodes(dsn: str, name: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        query = (
            "SELECT count(*) FROM node_executions n JOIN executions e ON e.id = n.execution_id"
            " WHERE e.name = $1 AND n.ended_at IS NOT NULL"
        )
        return int(await connection.fetchval(query, name))
    finally:
        await connection.close()


async def _bare_s(dsn: str, nodes: int) -> float:
    """Seconds that the rows of as many nodes take by themselves."""
    connection = await asyncpg.connect(dsn)
    columns = await connection.fetchval(
        "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns"
        " WHERE table_name = 'node_executions' AND column_name NOT IN ('execution_id', 'duration')"
    )
    try:
        began = time.perf_counter()
        for start in range(0, nodes, WIDTH):
            await connection.execute(
                f"INSERT INTO node_executions (execution_id, {columns}) SELECT -1, {columns} FROM node_executions"
                " WHERE execution_id = (SELECT id FROM executions WHERE name = 'static')"
                f" AND seq >= {start} AND seq < {start + WIDTH} ON CONFLICT DO NOTHING"
            )
        return time.perf_counter() - began
    finally:
        await connection.close()


def _identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version="load")


def _execution(name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    return identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)


def _variables(*names: str) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(variables={name: interface_pb2.Variable(type=_INTEGER) for name in names})


def _promise(node: str, var: str) -> literals_pb2.BindingData:
    return literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=node, var=var))


def _answer() -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=_ANSWER)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.large", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--nodes", type=int, default=100_000)
    print(json.dumps(measure(parser.parse_args(arguments).nodes)))


if __name__ == "__main__":
    main()
