"""What the platform says about the resources of tasks, and what comes of it for a container. Pure.

The control plane checks tasks against the limits when they are registered; task plugins fill in defaults and cut to the
limits when they build a container, since the limits may have changed meanwhile. Rules of Flyte v1: a request without a
limit limits too, a limit without a request is requested, an amount of zero says nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Self

from flyteidl.admin import matchable_resource_pb2
from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.quantities import parse_quantity

NAMES: Mapping[str, tasks_pb2.Resources.ResourceName] = {
    "cpu": tasks_pb2.Resources.CPU,
    "gpu": tasks_pb2.Resources.GPU,
    "memory": tasks_pb2.Resources.MEMORY,
    "storage": tasks_pb2.Resources.STORAGE,
    "ephemeral_storage": tasks_pb2.Resources.EPHEMERAL_STORAGE,
}
"""Resources by the names of the fields of flyteidl.admin.TaskResourceSpec."""

Quantities = Mapping[tasks_pb2.Resources.ResourceName, str]
"""Kubernetes quantities as they were written; what is absent is not limited or not defaulted."""


class InvalidResourcesError(ValueError):
    """Something is no quantity, is negative, or is no whole number where one is expected; the text names it."""


class Amounts(NamedTuple):
    """What a container gets of one resource, in base units; None: nothing said."""

    request: Decimal | None
    limit: Decimal | None


_NOTHING = Amounts(None, None)


@dataclass(frozen=True, slots=True)
class PlatformResources:
    """Defaults for what a task does not say, and the most it gets."""

    defaults: Quantities = field(default_factory=dict[tasks_pb2.Resources.ResourceName, str])
    limits: Quantities = field(default_factory=dict[tasks_pb2.Resources.ResourceName, str])

    @classmethod
    def parse(cls, attributes: matchable_resource_pb2.TaskResourceAttributes) -> Self:
        """What attributes say. Raises InvalidResourcesError."""
        return cls(_quantities("default", attributes.defaults), _quantities("limit", attributes.limits))

    def settle(self, resource: tasks_pb2.Resources.ResourceName, asked: tasks_pb2.Resources) -> Amounts:
        """What a container gets of `resource` that asks for `asked`. Raises InvalidResourcesError."""
        if not (self.defaults or asked.requests or asked.limits):
            return _NOTHING  # as for most; what is not asked for is not cut either
        request = _entry(asked.requests, resource)
        limit = _entry(asked.limits, resource)
        if request is None:
            request = limit if limit is not None else _amount(self.defaults.get(resource))
        if limit is None:
            limit = request
        ceiling = _amount(self.limits.get(resource))
        limit = _cut(limit, ceiling)
        return Amounts(_cut(_cut(request, ceiling), limit), limit)


def _quantities(kind: str, spec: matchable_resource_pb2.TaskResourceSpec) -> Quantities:
    found: dict[tasks_pb2.Resources.ResourceName, str] = {}
    for name, resource in NAMES.items():
        text: str = getattr(spec, name)
        if not text:
            continue
        amount = _parse(f"{kind} {name}", text)
        if resource == tasks_pb2.Resources.GPU and amount != amount.to_integral_value():
            raise InvalidResourcesError(f"{kind} {name} [{text}] must be a whole number")
        if amount:
            found[resource] = text
    return found


def _entry(
    entries: Iterable[tasks_pb2.Resources.ResourceEntry], resource: tasks_pb2.Resources.ResourceName
) -> Decimal | None:
    for entry in entries:
        if entry.name == resource and entry.value:
            name = tasks_pb2.Resources.ResourceName.Name(resource).lower()
            amount = _parse(name, entry.value)
            if amount:
                return amount
    return None


def _parse(name: str, text: str) -> Decimal:
    try:
        amount = parse_quantity(text)
    except ValueError as error:
        raise InvalidResourcesError(f"{name} {error}") from error
    if amount < 0:
        raise InvalidResourcesError(f"{name} [{text}] must not be negative")
    return amount


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else parse_quantity(text)


def _cut(amount: Decimal | None, ceiling: Decimal | None) -> Decimal | None:
    return amount if amount is None or ceiling is None else min(amount, ceiling)
