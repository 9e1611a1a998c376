"""Two clients of one installation: flytekit's FlyteRemote, and the bare stubs of FlyteIDL for what flytekit hides."""

import importlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import admin_pb2_grpc, dataproxy_pb2_grpc, signal_pb2_grpc
from flytekit.configuration import Config, DataConfig, PlatformConfig
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.remote import FlyteRemote
from flytekit.remote.entities import FlyteLaunchPlan, FlyteTask, FlyteWorkflow
from flytekit.remote.executions import FlyteWorkflowExecution

PROJECT = "flytesnacks"
DOMAIN = "development"
HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "programs", HERE.parents[1] / "examples")
WAIT = timedelta(seconds=120)
POLL = timedelta(milliseconds=100)
MESSAGE_BYTES_MAX = 256 << 20


class Client:
    """Registers, runs and reads. `remote`, `admin`, `data` and `signals` are there for everything else.

    `storage` is what the client's machine knows about the store, if that is not a folder.
    """

    def __init__(self, endpoint: str, storage: DataConfig | None = None) -> None:
        self.endpoint = endpoint
        platform = PlatformConfig(endpoint=endpoint, insecure=True)
        config = Config(platform=platform, data_config=storage or DataConfig())
        self.remote = FlyteRemote(config, default_project=PROJECT, default_domain=DOMAIN)
        self.channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_metadata_size", 32 << 10),
            ],
        )
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.data = dataproxy_pb2_grpc.DataProxyServiceStub(self.channel)
        self.signals = signal_pb2_grpc.SignalServiceStub(self.channel)
        self._registered: dict[tuple[str, str], FlyteTask | FlyteWorkflow | FlyteLaunchPlan] = {}

    def close(self) -> None:
        """Let go of the channel."""
        self.channel.close()

    def register(self, module: str, name: str) -> Any:
        """Register an entity of a program, its code included, as `pyflyte run` does; once."""
        if (module, name) not in self._registered:
            folder = next(folder for folder in FOLDERS if (folder / f"{module}.py").exists())
            self._registered[module, name] = self.remote.register_script(
                entity(module, name), source_path=str(folder), module_name=module
            )
        return self._registered[module, name]

    def launch(self, module: str, name: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Register and start."""
        return self.remote.execute(self.register(module, name), inputs=dict(inputs or {}), **options)

    def wait(self, execution: FlyteWorkflowExecution, *, sync_nodes: bool = True) -> FlyteWorkflowExecution:
        """Wait for the end, whatever it is."""
        return self.remote.wait(execution, timeout=WAIT, poll_interval=POLL, sync_nodes=sync_nodes)

    def run(self, module: str, name: str, inputs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Register, start, wait for the end."""
        return self.wait(self.launch(module, name, inputs, **options))


def entity(module: str, name: str) -> Any:
    """The Python object of a program; conftest puts the folders on the path."""
    return getattr(importlib.import_module(module), name)


def phase(execution: FlyteWorkflowExecution) -> str:
    """Name of an execution's phase."""
    return WorkflowExecutionPhase.enum_to_string(execution.closure.phase)


def succeeded(execution: FlyteWorkflowExecution) -> FlyteWorkflowExecution:
    """The execution itself; AssertionError with its error unless it succeeded."""
    assert phase(execution) == "SUCCEEDED", execution.error.message if execution.error else phase(execution)
    return execution


def execution_id(name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    """Identifier of an execution of this project and domain."""
    return identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)


def create_request(
    plan: Any, name: str = "", *, resource_type: int = identifier_pb2.LAUNCH_PLAN, **numbers: int
) -> execution_pb2.ExecutionCreateRequest:
    """A request with integer inputs for the launch plan (or task) with the name and version of `plan`."""
    identifier = identifier_pb2.Identifier(
        resource_type=resource_type,
        project=PROJECT,
        domain=DOMAIN,
        name=plan.id.name,
        version=plan.id.version,
    )
    return execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        name=name,
        spec=execution_pb2.ExecutionSpec(
            launch_plan=identifier,
            metadata=execution_pb2.ExecutionMetadata(mode=execution_pb2.ExecutionMetadata.MANUAL),
            notifications=execution_pb2.NotificationList(),
        ),
        inputs=literals_pb2.LiteralMap(literals={key: integer(value) for key, value in numbers.items()}),
    )


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
