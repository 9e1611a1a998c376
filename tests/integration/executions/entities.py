"""Requests that register and launch small things, and rows as the engine writes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import (
    execution_pb2 as core_execution_pb2,
)
from flyteidl.core import (
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
)
from flyteidl.core import (
    workflow_pb2 as core_workflow_pb2,
)

from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind

PROJECT, DOMAIN = "flytesnacks", "development"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_STRING = types_pb2.LiteralType(simple=types_pb2.STRING)
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


def identifier(kind: int, name: str, version: str = "v1") -> identifier_pb2.Identifier:
    """An id in the project and domain of these tests."""
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version=version)


def execution_id(name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    """An execution of these tests."""
    return identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)


def node_id(execution: str, node: str = "n0") -> identifier_pb2.NodeExecutionIdentifier:
    """A node of it."""
    return identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution_id(execution))


def task_id(execution: str, attempt: int = 0) -> identifier_pb2.TaskExecutionIdentifier:
    """An attempt of its node n0."""
    return identifier_pb2.TaskExecutionIdentifier(
        task_id=identifier(identifier_pb2.TASK, "t"), node_execution_id=node_id(execution), retry_attempt=attempt
    )


def _variables(**types: types_pb2.LiteralType) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=literal_type) for name, literal_type in types.items()}
    )


def _interface() -> interface_pb2.TypedInterface:
    return interface_pb2.TypedInterface(
        inputs=_variables(text=_STRING, count=_INTEGER), outputs=_variables(text=_STRING)
    )


def task() -> task_pb2.TaskCreateRequest:
    """The task `t`: a text and a count to a text."""
    return task_pb2.TaskCreateRequest(
        id=identifier(identifier_pb2.TASK, "t"),
        spec=task_pb2.TaskSpec(
            template=tasks_pb2.TaskTemplate(
                type="container",
                metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1")),
                interface=_interface(),
                container=tasks_pb2.Container(image="i", args=["run"]),
            )
        ),
    )


def workflow() -> workflow_pb2.WorkflowCreateRequest:
    """The workflow `w`: one node `n0` that runs the task."""

    def promise(variable: str, node: str) -> literals_pb2.Binding:
        reference = types_pb2.OutputReference(node_id=node, var=variable)
        return literals_pb2.Binding(var=variable, binding=literals_pb2.BindingData(promise=reference))

    node = core_workflow_pb2.Node(
        id="n0",
        metadata=core_workflow_pb2.NodeMetadata(name="n0"),
        inputs=[promise("text", ""), promise("count", "")],
        task_node=core_workflow_pb2.TaskNode(reference_id=identifier(identifier_pb2.TASK, "t")),
    )
    template = core_workflow_pb2.WorkflowTemplate(interface=_interface(), nodes=[node], outputs=[promise("text", "n0")])
    return workflow_pb2.WorkflowCreateRequest(
        id=identifier(identifier_pb2.WORKFLOW, "w"), spec=workflow_pb2.WorkflowSpec(template=template)
    )


def launch_plan(name: str, version: str = "v1") -> launch_plan_pb2.LaunchPlanCreateRequest:
    """A launch plan of `w` that asks for a text and counts to three by default."""
    spec = launch_plan_pb2.LaunchPlanSpec(workflow_id=identifier(identifier_pb2.WORKFLOW, "w"))
    count = spec.default_inputs.parameters["count"]
    count.var.type.CopyFrom(_INTEGER)
    count.default.CopyFrom(literals(count=3).literals["count"])
    return launch_plan_pb2.LaunchPlanCreateRequest(id=identifier(identifier_pb2.LAUNCH_PLAN, name, version), spec=spec)


def literals(**values: int | str) -> literals_pb2.LiteralMap:
    """Integers and texts."""
    found = literals_pb2.LiteralMap()
    for name, value in values.items():
        primitive = found.literals[name].scalar.primitive
        if isinstance(value, int):
            primitive.integer = value
        else:
            primitive.string_value = value
    return found


def launch(name: str = "", plan: str = "lp", **values: int | str) -> execution_pb2.ExecutionCreateRequest:
    """A request to launch a plan; with no values the text is "hi"."""
    return execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        name=name,
        spec=execution_pb2.ExecutionSpec(
            launch_plan=identifier(identifier_pb2.LAUNCH_PLAN, plan),
            metadata=execution_pb2.ExecutionMetadata(principal="placeholder"),
            notifications=execution_pb2.NotificationList(),
        ),
        inputs=literals(**(values or {"text": "hi"})),
    )


def error(message: str) -> bytes:
    """A user's error, serialized."""
    return core_execution_pb2.ExecutionError(
        code="USER:X", message=message, kind=core_execution_pb2.ExecutionError.USER
    ).SerializeToString()


class EngineRows:
    """Writes progress as the engine does."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def key(self, name: str) -> int:
        """Row id of an execution."""
        return await self._pool.fetchval("SELECT id FROM executions WHERE name = $1", name)

    async def execution(self, name: str, **columns: Any) -> None:
        """Change columns of an execution."""
        settings = ", ".join(f"{column} = ${number}" for number, column in enumerate(columns, 2))
        await self._pool.execute(f"UPDATE executions SET {settings} WHERE name = $1", name, *columns.values())

    async def node(self, execution: str, node: str = "n0", **columns: Any) -> None:
        """Insert a node; it is a task that succeeded unless columns say otherwise."""
        row = {
            "execution_id": await self.key(execution),
            "node_id": node,
            "seq": 0,
            "spec_node_id": node,
            "kind": int(NodeKind.TASK),
            "phase": int(NodePhase.SUCCEEDED),
            "created_at": NOON,
            "started_at": NOON + timedelta(seconds=1),
            "ended_at": NOON + timedelta(seconds=3),
            "updated_at": NOON + timedelta(seconds=3),
            **columns,
        }
        await self._insert("node_executions", row)

    async def attempt(self, execution: str, attempt: int = 0, **columns: Any) -> None:
        """Insert an attempt of the node n0; it succeeded unless columns say otherwise."""
        row = {
            "execution_id": await self.key(execution),
            "node_id": "n0",
            "attempt": attempt,
            "task_project": PROJECT,
            "task_domain": DOMAIN,
            "task_name": "t",
            "task_version": "v1",
            "task_type": "container",
            "name": f"{execution}-n0-{attempt}",
            "phase": int(TaskPhase.SUCCEEDED),
            "created_at": NOON,
            "updated_at": NOON,
            **columns,
        }
        await self._insert("task_executions", row)

    async def element(self, execution: str, element: int, **columns: Any) -> None:
        """Insert an attempt of an element of the array n0; it succeeded unless columns say otherwise."""
        row = {
            "execution_id": await self.key(execution),
            "node_id": "n0",
            "element": element,
            "attempt": 0,
            "phase": int(TaskPhase.SUCCEEDED),
            "system_failures": 0,
            "queued_at": NOON,
            "ended_at": NOON + timedelta(seconds=element),
            **columns,
        }
        await self._insert("array_elements", row)

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self._pool.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
