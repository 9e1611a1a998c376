"""Tasks of type `echo` hand their inputs on as their outputs. The engine does that itself, without a process.

flytekit names the outputs o0, o1, ... in the order of the inputs, and FlyteIDL's maps of variables keep no order. So a
value goes to the output of its own type; among variables of one type, inputs in order of their names go to outputs in
order of theirs.
"""

import re
from collections.abc import Mapping, Sequence

from flyteidl.core import interface_pb2, tasks_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.type_text import type_text
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import build_literal_map
from wingbeat_propeller.ports.tasks import BadTaskError, InstantRequest, TaskContext


class EchoPlugin:
    """Implements TaskPlugin. Each echo takes `sleep_s` seconds, like Flyte's, which is there for tests."""

    task_types: Sequence[str] = ("echo",)
    runs_in_engine = True

    def __init__(self, sleep_s: float = 0.0) -> None:
        self._sleep_s = sleep_s

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """They are all there is to it."""
        return True

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """Raises BadTaskError when outputs and inputs do not go together."""
        interface = template.interface
        try:
            sources = pair_variables(interface.inputs.variables, interface.outputs.variables)
        except ValueError as error:
            text = f"task {template.id.name!r}: {error}"
            raise BadTaskError(Failure(ErrorKind.USER, "BadTaskSpecification", text)) from error
        given = inputs or {}
        outputs = {output: given[source] for output, source in sources.items() if source in given}
        return InstantRequest(context.name, build_literal_map(outputs), delay_s=self._sleep_s)


def pair_variables(
    inputs: Mapping[str, interface_pb2.Variable], outputs: Mapping[str, interface_pb2.Variable]
) -> dict[str, str]:
    """The input that each output echoes. Raises ValueError when their numbers or types differ."""
    if len(inputs) != len(outputs):
        raise ValueError(f"an echo has as many outputs as inputs, this one has {len(outputs)} and {len(inputs)}")
    left = sorted(inputs, key=_by_number)
    pairs: dict[str, str] = {}
    for output in sorted(outputs, key=_by_number):
        wanted = outputs[output].type
        source = next((name for name in left if _same(inputs[name].type, wanted)), None)
        if source is None:
            source = next((name for name in left if is_castable(inputs[name].type, wanted)), None)
        if source is None:
            raise ValueError(f"no input is left for output {output!r} of type {type_text(wanted)}")
        left.remove(source)
        pairs[output] = source
    return pairs


def _same(one: types_pb2.LiteralType, other: types_pb2.LiteralType) -> bool:
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def _by_number(name: str) -> list[str | int]:
    """o10 comes after o9. Pieces alternate, so text is never compared with a number."""
    return [int(piece) if piece.isascii() and piece.isdigit() else piece for piece in re.split(r"([0-9]+)", name)]
