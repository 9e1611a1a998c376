"""Signals: made by a waiting gate, set by people and programs."""

import grpc
import pytest
from flyteidl.admin import signal_pb2
from flyteidl.core import identifier_pb2, types_pb2
from flyteidl.service import signal_pb2_grpc
from tests.integration.registry.specs import INTEGER, integer, refusal

_EXECUTION = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="x")


@pytest.fixture
def signals(channel: grpc.aio.Channel) -> signal_pb2_grpc.SignalServiceStub:
    """The generated stub of SignalService."""
    return signal_pb2_grpc.SignalServiceStub(channel)


def _id(name: str = "s") -> identifier_pb2.SignalIdentifier:
    return identifier_pb2.SignalIdentifier(signal_id=name, execution_id=_EXECUTION)


def _wait(name: str = "s", literal_type: types_pb2.LiteralType = INTEGER) -> signal_pb2.SignalGetOrCreateRequest:
    return signal_pb2.SignalGetOrCreateRequest(id=_id(name), type=literal_type)


async def test_the_last_value_counts(signals: signal_pb2_grpc.SignalServiceStub) -> None:
    """A signal has no value until it is set, may be set again, and asking again answers the same signal."""
    made = await signals.GetOrCreateSignal(_wait())
    assert made == signal_pb2.Signal(id=_id(), type=INTEGER)
    for value in (1, 2):
        await signals.SetSignal(signal_pb2.SignalSetRequest(id=_id(), value=integer(value)))
    again = await signals.GetOrCreateSignal(_wait())
    assert again == signal_pb2.Signal(id=_id(), type=INTEGER, value=integer(2))


async def test_refusals(signals: signal_pb2_grpc.SignalServiceStub) -> None:
    """Another type is ALREADY_EXISTS; too early, of a wrong type, or incomplete is INVALID_ARGUMENT."""
    code, message = await refusal(signals.SetSignal(signal_pb2.SignalSetRequest(id=_id(), value=integer(1))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("failed to validate that signal [")
    await signals.GetOrCreateSignal(_wait())
    boolean = types_pb2.LiteralType(simple=types_pb2.BOOLEAN)
    code, _ = await refusal(signals.GetOrCreateSignal(_wait(literal_type=boolean)))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    await signals.GetOrCreateSignal(_wait("b", boolean))
    for request in (
        signal_pb2.SignalSetRequest(id=_id("b"), value=integer(1)),
        signal_pb2.SignalSetRequest(id=_id()),
        signal_pb2.SignalSetRequest(value=integer(1)),
        signal_pb2.SignalSetRequest(id=identifier_pb2.SignalIdentifier(signal_id="s"), value=integer(1)),
    ):
        code, message = await refusal(signals.SetSignal(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert message
    code, message = await refusal(signals.GetOrCreateSignal(signal_pb2.SignalGetOrCreateRequest(id=_id())))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "missing type")


async def test_list(signals: signal_pb2_grpc.SignalServiceStub) -> None:
    """An execution's signals come in pages, filtered by name."""
    for name in ("a", "b", "c"):
        await signals.GetOrCreateSignal(_wait(name))

    async def names(**fields: object) -> list[str]:
        found = await signals.ListSignals(signal_pb2.SignalListRequest(workflow_execution_id=_EXECUTION, **fields))
        return [*(signal.id.signal_id for signal in found.signals), found.token]

    assert await names(limit=2) == ["a", "b", "2"]
    assert await names(limit=2, token="2") == ["c", ""]
    assert await names(limit=9, filters="eq(signal_id,b)") == ["b", ""]
    nothing = signal_pb2.SignalListRequest(workflow_execution_id=_EXECUTION)
    assert await refusal(signals.ListSignals(nothing)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "invalid value for limit",
    )
