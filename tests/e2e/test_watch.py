"""Watching a real installation: every level, waits, and what a browser gets."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from flyteidl.core import literals_pb2
from tests.e2e.client import Client
from tests.e2e.installation import Installation

from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2, watch_pb2_grpc

LEVELS = (transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE, transition_pb2.LEVEL_ATTEMPT)
FINAL = (identity_pb2.EXECUTION_PHASE_SUCCEEDED, identity_pb2.EXECUTION_PHASE_FAILED)


@pytest.fixture
def stub(installation: Installation) -> Iterator[watch_pb2_grpc.WatchServiceStub]:
    """A client of WatchService."""
    with grpc.insecure_channel(installation.endpoint) as channel:
        yield watch_pb2_grpc.WatchServiceStub(channel)


def _story(stub: watch_pb2_grpc.WatchServiceStub, name: str, cursor: str = "") -> list[transition_pb2.Transition]:
    """All transitions of an execution up to its end, at every level, with outputs."""
    request = watch_pb2.WatchTransitionsRequest(
        levels=LEVELS,
        cursor=cursor,
        start=watch_pb2.START_OLDEST,
        with_outputs=True,
        filter=watch_pb2.TransitionFilter(project="flytesnacks", domain="development", executions=[name]),
    )
    found: list[transition_pb2.Transition] = []
    call = stub.WatchTransitions(request, timeout=60)
    for response in call:
        found += response.transitions
        if any(one.execution_phase in FINAL for one in response.transitions):
            break
    call.cancel()
    return found


def _attempts(story: list[transition_pb2.Transition], node: str) -> list[tuple[int, str, bool]]:
    return [
        (one.attempt, transition_pb2.AttemptPhase.Name(one.attempt_phase).removeprefix("ATTEMPT_PHASE_"), one.is_final)
        for one in story
        if one.level == transition_pb2.LEVEL_ATTEMPT and one.node.node_id == node
    ]


def test_every_level(client: Client, stub: watch_pb2_grpc.WatchServiceStub) -> None:
    """While an execution runs a stream from a cursor taken before its launch tells the same as one from the oldest on
    after its end: each phase of the execution, of its node and of the attempt, in the order of cause and effect, with
    outputs at the successes."""
    cursor = stub.GetCursor(watch_pb2.GetCursorRequest()).now
    execution = client.launch("hello_world", "hello_world_wf", {"name": "Ada"})
    name = execution.id.name
    live = _story(stub, name, cursor)
    late = _story(stub, name)
    assert [one.SerializeToString() for one in live] == [one.SerializeToString() for one in late]
    assert live[0].execution_phase == identity_pb2.EXECUTION_PHASE_RUNNING
    assert live[-1].execution_phase == identity_pb2.EXECUTION_PHASE_SUCCEEDED
    assert live[-1].is_final
    outputs = literals_pb2.LiteralMap.FromString(live[-1].outputs.literals)
    assert outputs.literals["o0"].scalar.primitive.string_value == "Hello, Ada!"
    assert _attempts(live, "n0") == [(0, "QUEUED", False), (0, "RUNNING", False), (0, "SUCCEEDED", True)]
    (ended,) = [one for one in live if one.node_phase == identity_pb2.NODE_PHASE_SUCCEEDED and one.node.node_id == "n0"]
    assert ended.outputs.literals
    attempt = next(one for one in live if one.attempt_phase == transition_pb2.ATTEMPT_PHASE_SUCCEEDED)
    assert attempt.task.name.startswith("hello_world.")
    assert attempt.entry == ended.entry
    assert live.index(attempt) < live.index(ended)


def test_attempts_that_fail(client: Client, stub: watch_pb2_grpc.WatchServiceStub, marks: Path) -> None:
    """Each attempt of a task that is tried three times is told of, with its error; the last one is final."""
    execution = client.run("failures", "recoverable_wf", {"path": str(marks)})
    story = _story(stub, execution.id.name)
    assert _attempts(story, "n0") == [
        step
        for number in range(3)
        for step in ((number, "QUEUED", False), (number, "RUNNING", False), (number, "FAILED", number == 2))
    ]
    errors = [one.error for one in story if one.attempt_phase == transition_pb2.ATTEMPT_PHASE_FAILED]
    assert all("the moon is not in place" in error.message for error in errors)
    assert story[-1].execution_phase == identity_pb2.EXECUTION_PHASE_FAILED
    assert "RetriesExhausted" in story[-1].error.code


def test_wait_and_browser(installation: Installation, client: Client, stub: watch_pb2_grpc.WatchServiceStub) -> None:
    """A wait that begins before the end gets it; curl gets the story as events."""
    execution = client.launch("hello_world", "hello_world_wf", {"name": "Eve"})
    identifier = identity_pb2.ExecutionIdentifier(project="flytesnacks", domain="development", name=execution.id.name)
    responses = list(stub.WaitExecutions(watch_pb2.WaitExecutionsRequest(executions=[identifier]), timeout=60))
    (end,) = [one for response in responses for one in response.ends]
    assert end.phase == identity_pb2.EXECUTION_PHASE_SUCCEEDED
    query = f"project=flytesnacks&domain=development&execution={execution.id.name}&start=oldest"
    with httpx.stream("GET", f"{installation.http_url}/api/v1/watch?{query}", timeout=60) as response:
        lines = response.iter_lines()
        assert any("EXECUTION_PHASE_SUCCEEDED" in line for line in lines)
