"""`flyte://` references as GetData takes them: which value of which node, or attempt, of an execution."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import invalid_argument

Part: TypeAlias = Literal["i", "o", "d"]
"""Inputs, outputs, deck."""

_NAME = "[a-zA-Z0-9_-]+"
_REFERENCE = re.compile(
    f"flyte://v1/(?P<project>{_NAME})/(?P<domain>{_NAME})/(?P<execution>{_NAME})/(?P<node>{_NAME})"
    f"(?:/(?P<attempt>[0-9]{{1,9}}))?/(?P<part>[iod])(?:/(?P<literal>{_NAME}))?"
)


@dataclass(frozen=True, slots=True)
class FlyteReference:
    """One value. `attempt` None: the node's own; `literal` empty: all of them."""

    project: str
    domain: str
    execution: str
    node: str
    part: Part
    attempt: int | None = None
    literal: str = ""

    @property
    def node_id(self) -> identifier_pb2.NodeExecutionIdentifier:
        """The node as FlyteIDL names it."""
        execution = identifier_pb2.WorkflowExecutionIdentifier(
            project=self.project, domain=self.domain, name=self.execution
        )
        return identifier_pb2.NodeExecutionIdentifier(node_id=self.node, execution_id=execution)


def parse_reference(url: str) -> FlyteReference:
    """The parts of a reference. Raises ApiError INVALID_ARGUMENT; decks belong to nodes and have no parts."""
    found = _REFERENCE.fullmatch(url)
    if found is None:
        raise invalid_argument(
            f"invalid value for flyte_url: {url[:500]!r} is not of the form"
            " flyte://v1/<project>/<domain>/<execution>/<node>[/<attempt>]/<i|o|d>[/<name>]"
        )
    attempt, literal = found["attempt"], found["literal"] or ""
    part = cast("Part", found["part"])
    if part == "d" and (attempt is not None or literal):
        raise invalid_argument(f"invalid value for flyte_url: a deck belongs to a node, so {url!r} names none")
    return FlyteReference(
        project=found["project"],
        domain=found["domain"],
        execution=found["execution"],
        node=found["node"],
        part=part,
        attempt=None if attempt is None else int(attempt),
        literal=literal,
    )
