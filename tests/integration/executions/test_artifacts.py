"""Decks and values by node, as the data proxy asks for them."""

import grpc
import pytest
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import EngineRows, launch, literals, node_id

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.parts import Executions
from wingbeat_propeller.core.phases import TaskPhase

HI, HO = literals(text="hi").SerializeToString(), literals(text="ho").SerializeToString()


async def test_by_node_and_by_attempt(
    admin: admin_pb2_grpc.AdminServiceStub, executions: Executions, engine: EngineRows
) -> None:
    """A node has a deck, inputs and outputs; an attempt that failed has inputs only."""
    await admin.CreateExecution(launch("e1"))
    await engine.node("e1", deck_uri="d", attempt=1, inputs=HI, outputs=HO)
    await engine.node("e1", "n1")
    await engine.attempt("e1", 0, phase=int(TaskPhase.FAILED))
    await engine.attempt("e1", 1)
    artifacts, node = executions.artifacts, node_id("e1")
    assert await artifacts.deck_uri(node) == "d"
    assert await artifacts.deck_uri(node_id("e1", "n1")) is None
    assert await artifacts.node_literals(node, None, "i") == HI
    assert await artifacts.node_literals(node, None, "o") == HO
    assert await artifacts.node_literals(node, 1, "o") == HO
    assert await artifacts.node_literals(node, 0, "i") == HI
    assert await artifacts.node_literals(node, 0, "o") == b""


@pytest.mark.parametrize(("node", "attempt"), [("n9", None), ("n0", 7), ("n0", 10**9)])
async def test_unknown_nodes_and_attempts(
    admin: admin_pb2_grpc.AdminServiceStub,
    executions: Executions,
    engine: EngineRows,
    node: str,
    attempt: int | None,
) -> None:
    """They are NOT_FOUND, however large the number of the attempt."""
    await admin.CreateExecution(launch("e1"))
    await engine.node("e1")
    with pytest.raises(ApiError) as caught:
        await executions.artifacts.node_literals(node_id("e1", node), attempt, "i")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(ApiError):
        await executions.artifacts.deck_uri(node_id("nothing"))
