"""Calls over a real connection: what is repeated, what is resumed, what comes out as an error."""

import grpc
import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, types_pb2

from tests.integration.client.scripted import Fault, Script
from wingbeat import AsyncClient, Entity, EntityId, ExecutionId, Kind, Launch, Patience, Phase
from wingbeat.errors import (
    AlreadyExistsError,
    ConversionError,
    ExecutionFailedError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
    WaitTimeoutError,
)
from wingbeatidl.batch.v1 import batch_pb2
from wingbeatidl.launch.v1 import launch_pb2, outcome_pb2
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED
PLAN = Entity(
    EntityId(Kind.LAUNCH_PLAN, "flytesnacks", "development", "w", "v1"),
    {"n": types_pb2.LiteralType(simple=types_pb2.INTEGER)},
    {},
    {},
)


def execution(phase: int = core_execution_pb2.WorkflowExecution.SUCCEEDED, error: str = "") -> execution_pb2.Execution:
    """The execution `e`."""
    identifier = identifier_pb2.WorkflowExecutionIdentifier(project="flytesnacks", domain="development", name="e")
    closure = execution_pb2.ExecutionClosure(phase=phase)
    if error:
        closure.error.message = error
    return execution_pb2.Execution(id=identifier, closure=closure)


def outcome(name: str, status: int = outcome_pb2.LAUNCH_STATUS_CREATED, **fields: object) -> outcome_pb2.LaunchOutcome:
    """What became of an item."""
    identifier = identity_pb2.ExecutionIdentifier(project="flytesnacks", domain="development", name=name)
    return outcome_pb2.LaunchOutcome(status=status, execution=identifier, **fields)  # pyright: ignore


def transition(entry: int, cursor: str) -> watch_pb2.WatchTransitionsResponse:
    """A message with one transition."""
    one = transition_pb2.Transition(
        entry=entry,
        level=transition_pb2.LEVEL_EXECUTION,
        execution=identity_pb2.ExecutionIdentifier(project="p", domain="d", name=f"e{entry}"),
        execution_phase=identity_pb2.EXECUTION_PHASE_SUCCEEDED,
    )
    return watch_pb2.WatchTransitionsResponse(transitions=[one], cursor=cursor)


async def test_a_server_that_comes_back(client: AsyncClient, script: Script) -> None:
    """A call that did not get through is sent again until it does."""
    script.will("GetExecution", Fault(UNAVAILABLE), Fault(UNAVAILABLE), execution())
    assert (await client.execution("e")).phase is Phase.SUCCEEDED
    assert len(script.requests["GetExecution"]) == 3


async def test_a_server_that_stays_away() -> None:
    """After the client's patience the error comes out."""
    client = AsyncClient("127.0.0.1:1", patience=Patience(unreachable_s=0.3))
    with pytest.raises(UnavailableError):
        await client.execution("e")
    await client.close()


async def test_a_server_that_has_too_much_to_do(client: AsyncClient, script: Script) -> None:
    """The call is sent again after the delay that the server asks for."""
    script.will("Launch", Fault(BUSY, after_s=0.05), launch_pb2.LaunchResponse(outcomes=[outcome("e")]))
    assert await client.launch(PLAN, {"n": 1}) == ExecutionId("flytesnacks", "development", "e")
    first, second = script.requests["Launch"]
    assert first == second  # with the same key


async def test_a_server_without_bulk_launch_that_has_too_much_to_do(client: AsyncClient, script: Script) -> None:
    """A creation waits as long as the server asks for; beyond the client's patience that is no refusal of the item."""
    created = execution_pb2.ExecutionCreateResponse()
    script.will("CreateExecution", Fault(BUSY, after_s=0.05), created, Fault(BUSY, after_s=3600))
    await client.launch(PLAN, {"n": 1}, key="k")
    assert len(script.requests["CreateExecution"]) == 2
    with pytest.raises(ResourceExhaustedError):
        _ = [one async for one in client.launch_many([Launch(PLAN, {"n": 2}, key="l")])]


async def test_refusals(client: AsyncClient, script: Script) -> None:
    """What is wrong with a launch is an error with its fields, of the class that belongs to its code."""
    refused = outcome("", outcome_pb2.LAUNCH_STATUS_REFUSED, code=3, message="bad")
    refused.violations.add(field="inputs.n", description="missing")
    conflict = outcome("other", outcome_pb2.LAUNCH_STATUS_CONFLICT, code=6, message="key used")
    for one in (refused, conflict):
        script.will("Launch", launch_pb2.LaunchResponse(outcomes=[one]))
    with pytest.raises(InvalidArgumentError) as caught:
        await client.launch(PLAN, {})
    assert caught.value.violations[0].field == "inputs.n"
    with pytest.raises(AlreadyExistsError, match="key used"):
        await client.launch(PLAN, {"n": 1}, key="k")
    with pytest.raises(ConversionError, match="n: 'x' is no integer"):
        await client.launch(PLAN, {"n": "x"})


async def test_many_launches(client: AsyncClient, script: Script) -> None:
    """Answers come in the order of the launches, portion by portion; one that cannot be leaves the others alone."""

    def answer(request: bytes) -> launch_pb2.LaunchResponse:
        keys = [item.idempotency_key for item in launch_pb2.LaunchRequest.FromString(request).items]
        known = {"k4": outcome_pb2.LAUNCH_STATUS_EXISTING}
        status = [known.get(key, outcome_pb2.LAUNCH_STATUS_CREATED) for key in keys]
        return launch_pb2.LaunchResponse(outcomes=map(outcome, keys, status))

    script.will("Launch", answer, answer, answer)
    launches = [Launch(PLAN, {"n": n if n != 2 else "x"}, key=f"k{n}") for n in range(5)]
    answers = [one async for one in client.launch_many(launches, items_max=2)]
    assert [one.execution.name if one.execution else None for one in answers] == ["k0", "k1", None, "k3", "k4"]
    assert [one.created for one in answers] == [True, True, False, True, False]
    assert isinstance(answers[2].error, ConversionError)
    keys = [
        item.idempotency_key
        for request in script.requests["Launch"]
        for item in launch_pb2.LaunchRequest.FromString(request).items
    ]
    assert sorted(keys) == ["k0", "k1", "k3", "k4"]


async def test_servers_without_bulk_launch(client: AsyncClient, script: Script) -> None:
    """A server of Flyte gets creations, whose names make them safe to repeat."""
    script.will("CreateExecution", Fault(UNAVAILABLE), Fault(grpc.StatusCode.ALREADY_EXISTS))
    found = await client.launch(PLAN, {"n": 1}, key="k")
    first, second = map(execution_pb2.ExecutionCreateRequest.FromString, script.requests["CreateExecution"])
    assert first.name == second.name == found.name
    script.will("CreateExecution", Fault(grpc.StatusCode.INVALID_ARGUMENT, "bad"))
    with pytest.raises(InvalidArgumentError, match="bad"):
        await client.launch(PLAN, {"n": 1})


async def test_names_are_looked_up(client: AsyncClient, script: Script) -> None:
    """The active version counts, else the newest; a fixed version is asked for once."""
    plan = launch_plan_pb2.LaunchPlan(id=PLAN.id.flyte())
    script.will("GetActiveLaunchPlan", plan, Fault(grpc.StatusCode.NOT_FOUND))
    script.will("ListLaunchPlans", launch_plan_pb2.LaunchPlanList(launch_plans=[plan]))
    script.will("ListLaunchPlans", launch_plan_pb2.LaunchPlanList())
    assert (await client.entity("w")).id == PLAN.id
    assert (await client.entity("w")).id == PLAN.id
    assert (await client.entity("w", "v1")).id == PLAN.id
    with pytest.raises(NotFoundError, match="there is no workflow 'w'"):
        await client.entity("w", kind=Kind.WORKFLOW)


async def test_a_watch_goes_on_where_it_was(client: AsyncClient, script: Script) -> None:
    """After a break the stream continues from the last cursor, and nothing comes twice."""
    script.will("GetCursor", watch_pb2.GetCursorResponse(now="c0"))
    script.will(
        "WatchTransitions",
        [transition(1, "c1"), Fault(UNAVAILABLE)],
        [Fault(UNAVAILABLE)],
        [watch_pb2.WatchTransitionsResponse(cursor="c2"), transition(2, "c3"), None],
    )
    seen = []
    async for one in client.watch():
        seen.append((one.execution.name, one.cursor, one.is_last))
        if len(seen) == 2:
            break
    assert seen == [("e1", "c1", True), ("e2", "c3", True)]
    requests = map(watch_pb2.WatchTransitionsRequest.FromString, script.requests["WatchTransitions"])
    assert [request.cursor for request in requests] == ["c0", "c1", "c1"]


async def test_a_cursor_that_is_too_old(client: AsyncClient, script: Script) -> None:
    """It is an error at once."""
    script.will("WatchTransitions", [Fault(grpc.StatusCode.OUT_OF_RANGE, "too old")])
    with pytest.raises(OutOfRangeError, match="too old"):
        async for _ in client.watch(cursor="c0"):
            pass


def _end(name: str) -> watch_pb2.WaitExecutionsResponse:
    identifier = identity_pb2.ExecutionIdentifier(project="flytesnacks", domain="development", name=name)
    return watch_pb2.WaitExecutionsResponse(ends=[watch_pb2.ExecutionEnd(execution=identifier)])


async def test_waits_are_resumed(client: AsyncClient, script: Script) -> None:
    """Each end is told once, also when the call breaks and what had ended comes again."""
    script.will("WaitExecutions", [_end("e1"), Fault(UNAVAILABLE)], [_end("e1"), _end("e2")])
    assert [one.name async for one in client.wait_many(["e1", "e2"])] == ["e1", "e2"]


async def test_results_are_resumed(client: AsyncClient, script: Script) -> None:
    """A broken call leaves out what was got before it."""
    first = batch_pb2.GetBatchResultsResponse(lines=['{"key": "a"}', '{"key": "b"}'])
    second = batch_pb2.GetBatchResultsResponse(lines=['{"key": "c"}'])
    script.will("GetBatchResults", [first, Fault(UNAVAILABLE)], [second])
    assert [result["key"] async for result in client.batch_results("night")] == ["a", "b", "c"]
    requests = map(batch_pb2.GetBatchResultsRequest.FromString, script.requests["GetBatchResults"])
    assert [request.skip for request in requests] == [0, 2]


async def test_a_wait_has_an_end(client: AsyncClient, script: Script) -> None:
    """After the caller's time it is WaitTimeoutError; against servers that cannot wait, too."""
    running = execution(core_execution_pb2.WorkflowExecution.RUNNING)
    script.will("WaitExecutions", [watch_pb2.WaitExecutionsResponse(pending=1)] * 1)
    script.will("GetExecution", *[running] * 20)
    with pytest.raises(WaitTimeoutError, match=r"has not ended in 0\.3 seconds"):
        await client.wait("e", timeout_s=0.3)


async def test_outputs_of_what_failed(client: AsyncClient, script: Script) -> None:
    """They are an error that says how it ended and why."""
    script.will("GetExecutionData", execution_pb2.WorkflowExecutionGetDataResponse())
    script.will("GetExecution", execution(core_execution_pb2.WorkflowExecution.FAILED, "no milk"))
    with pytest.raises(ExecutionFailedError, match="ended FAILED: no milk") as caught:
        await client.outputs("e")
    assert caught.value.execution.phase is Phase.FAILED
