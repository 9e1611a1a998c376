"""What the settings say about executions, as the control plane's messages."""

import pytest
from flyteidl.admin import matchable_resource_pb2

from wingbeat_controlplane.roles.options import ConfigurationError, execution_defaults, task_resources
from wingbeat_controlplane.settings import LaunchSettings, PropellerSettings, Settings, TaskResourceSettings


def test_defaults_of_the_defaults() -> None:
    """Out of the box there is a bound of 25 parallel tasks and nothing else."""
    expected = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=25)
    assert execution_defaults(Settings()) == expected
    assert task_resources(Settings()) == matchable_resource_pb2.TaskResourceAttributes()


def test_every_setting_arrives() -> None:
    """Each setting has its field."""
    launch = LaunchSettings(
        labels={"team": "a"},
        annotations={"note": "b"},
        envs={"K": "V"},
        raw_output_prefix="s3://raw",
        interruptible=True,
        overwrite_cache=True,
        service_account="robot",
        iam_role="arn",
    )
    expected = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=3,
        labels={"values": {"team": "a"}},
        annotations={"values": {"note": "b"}},
        envs={"values": [{"key": "K", "value": "V"}]},
        raw_output_data_config={"output_location_prefix": "s3://raw"},
        overwrite_cache=True,
        security_context={"run_as": {"k8s_service_account": "robot", "iam_role": "arn"}},
    )
    expected.interruptible.value = True
    assert execution_defaults(Settings(launch=launch, propeller=PropellerSettings(max_parallelism=3))) == expected
    resources = TaskResourceSettings(defaults={"cpu": "1"}, limits={"memory": "4Gi", "ephemeral_storage": "1Gi"})
    assert task_resources(Settings(task_resources=resources)) == matchable_resource_pb2.TaskResourceAttributes(
        defaults={"cpu": "1"}, limits={"memory": "4Gi", "ephemeral_storage": "1Gi"}
    )


def test_labels_that_no_pod_can_have() -> None:
    """A server does not start with labels that would break every execution."""
    with pytest.raises(ConfigurationError, match=r"launch.labels: invalid label key \[a b\]"):
        execution_defaults(Settings(launch=LaunchSettings(labels={"a b": "c"})))
