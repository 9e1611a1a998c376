"""What matchable attributes may say."""

import pytest
from flyteidl.admin import matchable_resource_pb2
from flyteidl.core import execution_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.registry.attribute_checks import (
    ATTRIBUTES_BYTES_MAX,
    check_attributes,
    merged,
    resource_type_of,
)

Attributes = matchable_resource_pb2.MatchingAttributes


@pytest.mark.parametrize(
    ("attributes", "resource_type"),
    [
        (Attributes(task_resource_attributes={}), 0),
        (Attributes(cluster_resource_attributes={"attributes": {"quota": "1"}}), 1),
        (Attributes(execution_queue_attributes={"tags": ["a"]}), 2),
        (Attributes(execution_cluster_label={"value": "gpu"}), 3),
        (Attributes(plugin_overrides={}), 5),
        (Attributes(workflow_execution_config={"max_parallelism": 1}), 6),
        (Attributes(cluster_assignment={"cluster_pool_name": "p"}), 7),
    ],
)
def test_types(attributes: Attributes, resource_type: int) -> None:
    """The field that is set says the type, also when it is empty inside."""
    assert resource_type_of(attributes, "p") == resource_type
    check_attributes(attributes)


@pytest.mark.parametrize(
    "attributes", [Attributes(), Attributes(quality_of_service=execution_pb2.QualityOfService(tier=1))]
)
def test_types_that_cannot_be_written(attributes: Attributes) -> None:
    """Nothing at all and quality of service are refused, as by Flyte v1."""
    with pytest.raises(ApiError, match="Unrecognized matching attributes type for request p-d"):
        resource_type_of(attributes, "p-d")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (
            Attributes(task_resource_attributes={"limits": {"memory": "lots"}}),
            "invalid task resource attributes: limit memory 'lots'",
        ),
        (Attributes(plugin_overrides={"overrides": [{"plugin_id": ["a"]}]}), "missing task_type"),
        (Attributes(workflow_execution_config={"max_parallelism": -1}), "invalid value for max_parallelism"),
        (Attributes(workflow_execution_config={"labels": {"values": {"a b": "c"}}}), "invalid label key [a b]"),
        (
            Attributes(cluster_resource_attributes={"attributes": {"x": "y" * ATTRIBUTES_BYTES_MAX}}),
            f"at most {ATTRIBUTES_BYTES_MAX} are allowed",
        ),
    ],
)
def test_what_no_launch_could_use(attributes: Attributes, text: str) -> None:
    """A mistake is told to its author, not to whoever launches something later."""
    with pytest.raises(ApiError) as caught:
        check_attributes(attributes)
    assert text in caught.value.message


def _overrides(**plugins: str) -> Attributes:
    return Attributes(
        plugin_overrides={"overrides": [{"task_type": kind, "plugin_id": [plugin]} for kind, plugin in plugins.items()]}
    )


def test_plugin_overrides_merge() -> None:
    """Task types that are not named keep what they have, in their place; named ones are replaced, new ones follow."""
    assert merged(_overrides(spark="a", ray="b"), _overrides(spark="c", dask="d")) == _overrides(
        spark="c", ray="b", dask="d"
    )
    assert merged(Attributes(), _overrides(spark="a")) == _overrides(spark="a")
