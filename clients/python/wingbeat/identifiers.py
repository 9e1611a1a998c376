"""Names of executions, nodes and registered entities, as people write them and as FlyteIDL has them."""

import re
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from wingbeat.errors import ConversionError

if TYPE_CHECKING:
    from flyteidl.core import identifier_pb2

    from wingbeatidl.query.v1 import identity_pb2

PROJECT = "flytesnacks"
DOMAIN = "development"

_SEPARATOR = re.compile(r"[/:]")
_NAME_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Kind(Enum):
    """What can be launched."""

    LAUNCH_PLAN = "launch_plan"
    WORKFLOW = "workflow"
    TASK = "task"


@dataclass(frozen=True, slots=True, order=True)
class ExecutionId:
    """An execution. `str()` writes it as `project/domain/name`."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}"

    @classmethod
    def parse(cls, text: str, project: str = PROJECT, domain: str = DOMAIN) -> "ExecutionId":
        """The execution meant by `name`, `project/domain/name` or `project:domain:name`. Raises ConversionError."""
        parts = _SEPARATOR.split(text)
        if len(parts) == 1:
            parts = [project, domain, text]
        if len(parts) != 3 or not all(parts):
            raise ConversionError(f"'{text}' names no execution; write its name, or project/domain/name")
        return cls(*parts)

    @classmethod
    def of(
        cls, identifier: "identifier_pb2.WorkflowExecutionIdentifier | identity_pb2.ExecutionIdentifier"
    ) -> "ExecutionId":
        """From FlyteIDL's message, or Wingbeat's."""
        return cls(identifier.project, identifier.domain, identifier.name)

    def flyte(self) -> "identifier_pb2.WorkflowExecutionIdentifier":
        """As FlyteIDL's message."""
        from flyteidl.core import identifier_pb2

        return identifier_pb2.WorkflowExecutionIdentifier(project=self.project, domain=self.domain, name=self.name)

    def wingbeat(self) -> "identity_pb2.ExecutionIdentifier":
        """As Wingbeat's message."""
        from wingbeatidl.query.v1 import identity_pb2

        return identity_pb2.ExecutionIdentifier(project=self.project, domain=self.domain, name=self.name)


@dataclass(frozen=True, slots=True, order=True)
class EntityId:
    """One version of a task, workflow or launch plan."""

    kind: Kind
    project: str
    domain: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.project}/{self.domain}/{self.name}@{self.version}"

    @classmethod
    def of(cls, identifier: "identifier_pb2.Identifier", kind: Kind | None = None) -> "EntityId":
        """From FlyteIDL's message, whose own kind counts unless one is given."""
        from flyteidl.core import identifier_pb2

        kinds = {identifier_pb2.TASK: Kind.TASK, identifier_pb2.WORKFLOW: Kind.WORKFLOW}
        found = kind or kinds.get(identifier.resource_type, Kind.LAUNCH_PLAN)
        return cls(found, identifier.project, identifier.domain, identifier.name, identifier.version)

    def flyte(self) -> "identifier_pb2.Identifier":
        """As FlyteIDL's message."""
        from flyteidl.core import identifier_pb2

        return identifier_pb2.Identifier(
            resource_type=getattr(identifier_pb2, self.kind.name),
            project=self.project,
            domain=self.domain,
            name=self.name,
            version=self.version,
        )


def new_name() -> str:
    """A name for an execution that no other one has: a letter, and 19 letters and digits, as Flyte makes them."""
    return "a" + "".join(secrets.choice(_NAME_ALPHABET) for _ in range(19))
