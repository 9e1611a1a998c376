"""Arrays through a real engine, journal and blob store."""

from pathlib import Path

import asyncpg
import pytest
from flyteidl.core import compiler_pb2, literals_pb2, tasks_pb2, workflow_pb2

from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.phases import ExecutionPhase, TaskPhase
from wingbeat_propeller.ports.tasks import InstantRequest, TaskContext
from wingbeat_propeller.runtimes.instant import InstantRuntime


def _integer(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


class IndexPlugin:
    """Tasks whose output is ten times the index that their environment names."""

    task_types = ("instant",)

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No."""
        return False

    def build(self, template: tasks_pb2.TaskTemplate, inputs: object, context: TaskContext) -> InstantRequest:
        """A request that has ended when it is launched."""
        index = int(context.envs[context.envs["BATCH_JOB_ARRAY_INDEX_VAR_NAME"]])
        outputs = literals_pb2.LiteralMap(literals={"o0": _integer(10 * index)})
        return InstantRequest(context.name, outputs.SerializeToString())


def _array(name: str, **fields: object) -> compiler_pb2.CompiledWorkflowClosure:
    """One array node from `x` to `o0`."""
    closure = chain(name, 1)
    node = closure.primary.template.nodes[2]
    inner = workflow_pb2.Node(task_node=node.task_node)
    node.ClearField("task_node")
    node.array_node.CopyFrom(workflow_pb2.ArrayNode(node=inner, **fields))
    return closure


async def _launch(pool: asyncpg.Pool, workflow: int, name: str, size: int) -> None:
    await launch(pool, workflow, [name])
    items = literals_pb2.LiteralCollection(literals=[_integer(value) for value in range(size)])
    inputs = literals_pb2.LiteralMap(literals={"x": literals_pb2.Literal(collection=items)})
    await pool.execute("UPDATE executions SET inputs = $1 WHERE name = $2", inputs.SerializeToString(), name)


@pytest.mark.parametrize("size", [0, 1, 5001, 9000])
async def test_sizes(pool: asyncpg.Pool, database_url: str, tmp_path: Path, size: int) -> None:
    """Outputs stand in order, in a row or else in outputs.pb, and each element has one row."""
    workflow = await register(pool, _array("arrays"))
    await _launch(pool, workflow, "mapped", size)
    async with engine(pool, database_url, tmp_path, InstantRuntime(), plugin=IndexPlugin()):
        assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    row = await pool.fetchrow("SELECT outputs, output_uri FROM node_executions WHERE node_id = 'n0'")
    data = row["outputs"] if row["outputs"] is not None else Path(row["output_uri"]).read_bytes()
    collection = literals_pb2.LiteralMap.FromString(data).literals["o0"].collection
    assert [literal.scalar.primitive.integer for literal in collection.literals] == [10 * i for i in range(size)]
    assert (row["outputs"] is None) is (size == 9000)
    rows = await pool.fetch("SELECT phase, count(*) AS n FROM array_elements GROUP BY phase")
    assert {row["phase"]: row["n"] for row in rows} == ({TaskPhase.SUCCEEDED: size} if size else {})
    assert await pool.fetchval("SELECT count(*) FROM node_executions") == 3
    tasks = await pool.fetch("SELECT phase, task_type FROM task_executions")
    assert [tuple(row) for row in tasks] == [(TaskPhase.SUCCEEDED, "container_array")]
