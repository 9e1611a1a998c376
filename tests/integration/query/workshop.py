"""A runtime whose attempts do what a test says, and workflows of plain edges."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from flyteidl.core import compiler_pb2, identifier_pb2, interface_pb2, tasks_pb2, workflow_pb2
from tests.integration.engine.harness import identifier

from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest, TaskContext


class Workshop:
    """Implements Runtime: attempts run from `start` to `end`, by the names that containers know them by."""

    def __init__(self, capacity: int = 100) -> None:
        self.capacity = capacity
        self.launched: list[str] = []
        self.adopted = asyncio.Event()
        """Set once an engine has asked what is known of earlier attempts."""
        self._sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _: None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver."""
        self._sink = sink

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Keep them; nothing happens by itself."""
        for request in requests:
            assert isinstance(request, InstantRequest)
            self.launched.append(request.name)

    async def abort(self, names: Sequence[str]) -> None:
        """Forget them."""
        self.launched = [name for name in self.launched if name not in names]

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Those that were launched."""
        self.adopted.set()
        return [name for name in names if name in self.launched]

    async def forget(self, names: Sequence[str]) -> None:
        """Nothing is kept for them."""

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """The requests of these tests do not say where they belong."""
        return {}

    async def started(self, name: str) -> None:
        """Wait until the attempt was launched, and let it show its sign of life."""
        self._sink([Started(await self._full_name(name), time.time())])

    async def ended(self, name: str, failure: Failure | None = None) -> None:
        """The same to its end."""
        full = await self._full_name(name)
        self.launched.remove(full)
        self._sink([Ended(full, time.time(), failure, b"" if failure is None else None)])

    async def _full_name(self, name: str) -> str:
        async with asyncio.timeout(60):
            while True:
                for launched in self.launched:
                    if launched.rpartition("-")[0] == name:
                        return launched
                await asyncio.sleep(0.01)


class WorkshopPlugin:
    """Builds the requests of all tasks; they have no inputs."""

    task_types: Sequence[str] = ("instant",)

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No."""
        return False

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """Only its name matters."""
        return InstantRequest(context.name)


def dag(name: str, nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> compiler_pb2.CompiledWorkflowClosure:
    """A compiled workflow of tasks without inputs; the nodes are named `task <id>`."""
    interface = interface_pb2.TypedInterface(inputs=interface_pb2.VariableMap(), outputs=interface_pb2.VariableMap())
    task_id = identifier(identifier_pb2.TASK, f"{name}.task")
    before = {after for _, after in edges}
    after = {first for first, _ in edges}
    pairs = [("start-node", node) for node in nodes if node not in before]
    pairs += [*edges, *((node, "end-node") for node in nodes if node not in after)]
    downstream = {
        first: compiler_pb2.ConnectionSet.IdList(ids=[second for other, second in pairs if other == first])
        for first in {first for first, _ in pairs}
    }
    template = workflow_pb2.WorkflowTemplate(
        id=identifier(identifier_pb2.WORKFLOW, name),
        interface=interface,
        nodes=[
            workflow_pb2.Node(id="start-node"),
            workflow_pb2.Node(id="end-node"),
            *(
                workflow_pb2.Node(
                    id=node,
                    metadata=workflow_pb2.NodeMetadata(name=f"task {node}"),
                    task_node=workflow_pb2.TaskNode(reference_id=task_id),
                )
                for node in nodes
            ),
        ],
    )
    return compiler_pb2.CompiledWorkflowClosure(
        primary=compiler_pb2.CompiledWorkflow(
            template=template, connections=compiler_pb2.ConnectionSet(downstream=downstream)
        ),
        tasks=[
            compiler_pb2.CompiledTask(
                template=tasks_pb2.TaskTemplate(
                    id=task_id,
                    type="instant",
                    interface=interface,
                    metadata=tasks_pb2.TaskMetadata(retries={"retries": 2}),
                )
            )
        ],
    )
