"""One attempt on its way to the runtime, and what is said of it to others."""

from collections.abc import Sequence
from typing import NamedTuple

from flyteidl.admin import task_execution_pb2
from flyteidl.core import execution_pb2
from flyteidl.event import event_pb2

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.ports.runtime import LogLink
from wingbeat_propeller.ports.slots import SlotAsk
from wingbeat_propeller.ports.tasks import AttemptOrigin


class Attempt(NamedTuple):
    """A durable launch and its execution."""

    live: LiveExecution
    launch: Launch
    is_repeat: bool = False
    """It may have been launched before, and the runtime has lost it."""

    @property
    def origin(self) -> AttemptOrigin:
        """Where it belongs."""
        state, launch = self.live.state, self.launch
        node_id = launch.array_id or launch.node_id
        return AttemptOrigin(state.project, state.domain, state.name, node_id, launch.ref.attempt, launch.ref.element)

    @property
    def ask(self) -> SlotAsk:
        """What it says when it asks for a slot."""
        project, domain = self.live.tenant
        launch = self.launch
        return SlotAsk(project, domain, self.live.state.key, launch.name, launch.node_id, launch.ref.attempt)


def closure_details(launch: Launch, logs: Sequence[LogLink], reason: str = "") -> bytes | None:
    """Serialized TaskExecutionClosure with what rows have no columns for; None when there is nothing to say."""
    if not logs and not reason and not launch.interruptible:
        return None
    closure = task_execution_pb2.TaskExecutionClosure(reason=reason, event_version=1)
    for log in logs:
        closure.logs.add(name=log.name, uri=log.uri, message_format=execution_pb2.TaskLog.UNKNOWN)
    closure.metadata.generated_name = launch.generated_name
    if launch.interruptible:
        closure.metadata.instance_class = event_pb2.TaskExecutionMetadata.INTERRUPTIBLE
    return closure.SerializeToString()
