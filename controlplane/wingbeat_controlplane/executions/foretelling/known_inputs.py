"""Inputs of a node as far as they are known before anything runs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wingbeat_propeller.core.bindings import (
    Binding,
    BindingProgram,
    BindingResolutionError,
    Constant,
    Entries,
    Items,
    NeedsContentError,
    Promise,
    evaluate,
)

Known: TypeAlias = Mapping[str, bytes]
"""Serialized literals by variable; one that is missing is not known."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known, and the nodes (plan indexes) that the rest waits for; `error`: a binding that cannot be met."""

    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    waits_for: tuple[int, ...] = ()
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether everything is known."""
        return not self.waits_for and not self.error


def known_inputs(program: BindingProgram, outputs: Mapping[int, Known]) -> Inputs:
    """`outputs` holds what is known of nodes that were met, by plan index."""
    values: dict[str, bytes] = {}
    waits_for: dict[int, None] = {}
    for var, binding in program.bindings:
        unknown = [promise.node for promise in _promises(binding) if promise.var not in outputs.get(promise.node, {})]
        if unknown:
            waits_for.update(dict.fromkeys(unknown))
            continue
        try:
            found = evaluate(BindingProgram(((var, binding),), program.sources), dict(outputs))
        except BindingResolutionError as error:
            return Inputs(error=str(error))
        except NeedsContentError:
            return Inputs(error=f"input '{var}' is part of a value that is stored apart")
        values.update({name: value for name, value in found.items() if isinstance(value, bytes)})
    return Inputs(values, tuple(waits_for))


def _promises(binding: Binding) -> list[Promise]:
    match binding:
        case Promise():
            return [binding]
        case Items():
            return [promise for element in binding.elements for promise in _promises(element)]
        case Entries():
            return [promise for _, entry in binding.entries for promise in _promises(entry)]
        case Constant():
            return []
