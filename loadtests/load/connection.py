"""Channels and stubs for users of locust.

locust runs its users as greenlets; gRPC's own support for gevent lets its calls wait without blocking the others. It
must be switched on before the first channel is made.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub
from grpc.experimental import gevent as grpc_gevent
from locust.env import Environment

from loadtests.load.scope import DOMAIN, PROJECT, VERSION
from wingbeatidl.launch.v1.launch_pb2_grpc import LaunchServiceStub
from wingbeatidl.watch.v1.watch_pb2_grpc import WatchServiceStub

_MESSAGE_BYTES_MAX: Final = 64 << 20
_CHANNELS: Final = 4

T = TypeVar("T")


class Connection:
    """Stubs over one channel; users share a few of them, as the processes of a platform would."""

    def __init__(self, target: str, number: int) -> None:
        # Channels with equal arguments would share one connection.
        options = [("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX), ("wingbeat.load.channel", number)]
        self.channel = grpc.insecure_channel(target, options=options)
        self.admin: Any = AdminServiceStub(self.channel)
        self.launch: Any = LaunchServiceStub(self.channel)
        self.watch: Any = WatchServiceStub(self.channel)


class Connections:
    """As many as are needed, handed out in turns."""

    def __init__(self) -> None:
        self._made: list[Connection] = []
        self._next = 0

    def take(self, target: str) -> Connection:
        """The next one."""
        if not self._made:
            grpc_gevent.init_gevent()
            self._made = [Connection(target, number) for number in range(_CHANNELS)]
        self._next += 1
        return self._made[self._next % _CHANNELS]


CONNECTIONS: Final = Connections()


def timed(environment: Environment, name: str, call: Callable[[], T]) -> T | None:
    """Make a call and tell locust of it; None when it failed."""
    began = time.perf_counter()
    answer: T | None = None
    failure: grpc.RpcError | None = None
    try:
        answer = call()
    except grpc.RpcError as error:
        failure = error
    request: Any = environment.events.request
    request.fire(
        request_type="grpc",
        name=name,
        response_time=(time.perf_counter() - began) * 1000,
        response_length=0,
        exception=failure,
        context={},
    )
    return answer


def create_request(
    name: str, entity: str, resource_type: identifier_pb2.ResourceType, inputs: literals_pb2.LiteralMap
) -> Any:
    """CreateExecution of an entity of programs.py."""
    identifier = identifier_pb2.Identifier(
        resource_type=resource_type, project=PROJECT, domain=DOMAIN, name=entity, version=VERSION
    )
    return execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        name=name,
        spec=execution_pb2.ExecutionSpec(launch_plan=identifier),
        inputs=inputs,
    )


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
