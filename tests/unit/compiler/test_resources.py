"""What the platform adds to the resources of a container, and what it cuts."""

from decimal import Decimal

import pytest
from flyteidl.admin import matchable_resource_pb2
from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.resources import InvalidResourcesError, PlatformResources

MEMORY = tasks_pb2.Resources.MEMORY
GI = 1 << 30


def _platform(default: str = "", limit: str = "") -> PlatformResources:
    return PlatformResources.parse(
        matchable_resource_pb2.TaskResourceAttributes(defaults={"memory": default}, limits={"memory": limit})
    )


def _asked(request: str = "", limit: str = "") -> tasks_pb2.Resources:
    asked = tasks_pb2.Resources()
    for text, entries in ((request, asked.requests), (limit, asked.limits)):
        if text:
            entries.add(name=MEMORY, value=text)
    return asked


@pytest.mark.parametrize(
    ("platform", "asked", "expected"),
    [
        (_platform(), _asked(), (None, None)),
        (_platform(), _asked(request="1Gi"), (GI, GI)),
        (_platform(), _asked(limit="1Gi"), (GI, GI)),
        (_platform(), _asked(request="1Gi", limit="2Gi"), (GI, 2 * GI)),
        (_platform(default="1Gi"), _asked(), (GI, GI)),
        (_platform(default="1Gi"), _asked(request="2Gi"), (2 * GI, 2 * GI)),
        (_platform(default="1Gi"), _asked(limit="2Gi"), (2 * GI, 2 * GI)),
        (_platform(default="1Gi"), _asked(request="0"), (GI, GI)),
        (_platform(limit="1Gi"), _asked(), (None, None)),
        (_platform(limit="1Gi"), _asked(request="3Gi", limit="4Gi"), (GI, GI)),
        (_platform(limit="2Gi"), _asked(request="1Gi", limit="4Gi"), (GI, 2 * GI)),
        (_platform(default="3Gi", limit="1Gi"), _asked(), (GI, GI)),
        (_platform(limit="0"), _asked(request="3Gi"), (3 * GI, 3 * GI)),
        (_platform(), _asked(request="3Gi", limit="1Gi"), (GI, GI)),
    ],
)
def test_what_a_container_gets(
    platform: PlatformResources, asked: tasks_pb2.Resources, expected: tuple[int | None, int | None]
) -> None:
    """Its own words, else the default; the one fills the other; both stay below the limit; zero says nothing."""
    assert platform.settle(MEMORY, asked) == tuple(None if amount is None else Decimal(amount) for amount in expected)


def test_resources_do_not_mix() -> None:
    """Each resource has its own default and limit, and names are those of FlyteIDL."""
    platform = PlatformResources.parse(
        matchable_resource_pb2.TaskResourceAttributes(
            defaults={"cpu": "500m", "ephemeral_storage": "1Gi"}, limits={"gpu": "2", "storage": "5Gi"}
        )
    )
    assert platform.settle(tasks_pb2.Resources.CPU, _asked(request="1Gi")).request == Decimal("0.5")
    assert platform.settle(tasks_pb2.Resources.EPHEMERAL_STORAGE, _asked()).limit == GI
    assert platform.limits == {tasks_pb2.Resources.GPU: "2", tasks_pb2.Resources.STORAGE: "5Gi"}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"memory": "lots"}, "limit memory 'lots' is no quantity"),
        ({"cpu": "-1"}, "limit cpu [-1] must not be negative"),
        ({"gpu": "500m"}, "limit gpu [500m] must be a whole number"),
    ],
)
def test_bad_quantities(spec: dict[str, str], text: str) -> None:
    """What is no amount is refused, with its name and its text."""
    with pytest.raises(InvalidResourcesError) as caught:
        PlatformResources.parse(matchable_resource_pb2.TaskResourceAttributes(limits=spec))
    assert str(caught.value).startswith(text)


def test_a_container_that_asks_for_nonsense() -> None:
    """A quantity of the task that cannot be read is an error that names the resource."""
    with pytest.raises(InvalidResourcesError, match="memory 'x' is no quantity"):
        _platform().settle(MEMORY, _asked(request="x"))
