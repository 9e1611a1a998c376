"""Which layer decides each setting of an execution."""

from collections.abc import Sequence

import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import security_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.effective_settings import resolve_notifications, resolve_settings, with_defaults
from wingbeat_propeller.core.cache_switch import cache_mode
from wingbeat_propeller.core.caching import CacheMode

APPLICATION = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=25)


def _resolve(
    request: execution_pb2.ExecutionSpec | None = None,
    launch_plan: launch_plan_pb2.LaunchPlanSpec | None = None,
    application: matchable_resource_pb2.WorkflowExecutionConfig = APPLICATION,
    attributes: Sequence[matchable_resource_pb2.WorkflowExecutionConfig] = (),
    project_labels: dict[str, str] | None = None,
    caller: str = "",
) -> matchable_resource_pb2.WorkflowExecutionConfig:
    return resolve_settings(
        request or execution_pb2.ExecutionSpec(),
        launch_plan or launch_plan_pb2.LaunchPlanSpec(),
        attributes,
        application,
        project_labels=project_labels or {},
        caller=caller,
    )


def _runs_as(account: str) -> security_pb2.SecurityContext:
    return security_pb2.SecurityContext(run_as=security_pb2.Identity(k8s_service_account=account))


def test_nothing_said_gives_the_installation() -> None:
    """Without any wish the installation's parallelism holds and an identity is present, though empty."""
    config = _resolve()
    assert config.max_parallelism == 25
    assert config.security_context.HasField("run_as")
    assert not config.HasField("interruptible")
    assert not config.overwrite_cache


def test_request_wins_over_launch_plan_field_by_field() -> None:
    """A request that says one thing leaves the others to the launch plan; maps are taken whole."""
    config = _resolve(
        execution_pb2.ExecutionSpec(max_parallelism=3, labels=common_pb2.Labels(values={"a": "request"})),
        launch_plan_pb2.LaunchPlanSpec(
            max_parallelism=7,
            labels=common_pb2.Labels(values={"a": "plan", "b": "plan"}),
            annotations=common_pb2.Annotations(values={"note": "plan"}),
            envs=common_pb2.Envs(values=[{"key": "K", "value": "V"}]),
            raw_output_data_config=common_pb2.RawOutputDataConfig(output_location_prefix="s3://plan"),
        ),
    )
    assert config.max_parallelism == 3
    assert dict(config.labels.values) == {"a": "request"}
    assert dict(config.annotations.values) == {"note": "plan"}
    assert config.envs.values[0].key == "K"
    assert config.raw_output_data_config.output_location_prefix == "s3://plan"


def test_attributes_stand_between_launch_plan_and_installation() -> None:
    """The first of the matching attributes that says something counts, after the launch plan and before the rest."""
    specific = matchable_resource_pb2.WorkflowExecutionConfig(envs={"values": [{"key": "K", "value": "specific"}]})
    general = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=5, annotations={"values": {"note": "general"}}, overwrite_cache=True
    )
    general.security_context.CopyFrom(_runs_as("general"))
    general.interruptible.value = True
    application = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=25, envs={"values": [{"key": "K", "value": "application"}]}
    )
    application.security_context.CopyFrom(_runs_as("application"))
    config = _resolve(
        None,
        launch_plan_pb2.LaunchPlanSpec(annotations={"values": {"note": "plan"}}),
        application,
        attributes=(specific, general),
    )
    assert config.max_parallelism == 5
    assert dict(config.annotations.values) == {"note": "plan"}
    assert config.envs == specific.envs
    assert config.security_context == _runs_as("general")
    assert config.interruptible.value
    assert config.overwrite_cache


def test_false_in_attributes_is_something_said() -> None:
    """Attributes that forbid interruption beat an installation that allows it."""
    attributes = matchable_resource_pb2.WorkflowExecutionConfig()
    attributes.interruptible.value = False
    application = matchable_resource_pb2.WorkflowExecutionConfig()
    application.interruptible.value = True
    config = _resolve(None, None, application, attributes=(attributes,))
    assert config.HasField("interruptible")
    assert not config.interruptible.value


def test_deprecated_roles_count_after_attributes() -> None:
    """An old role of the launch plan gives way to a context of the attributes and beats the installation's."""
    plan = launch_plan_pb2.LaunchPlanSpec(role="arn")
    attributes = matchable_resource_pb2.WorkflowExecutionConfig(security_context=_runs_as("attributes"))
    application = matchable_resource_pb2.WorkflowExecutionConfig(security_context=_runs_as("application"))
    config = _resolve(None, plan, application, attributes=(attributes,))
    assert config.security_context == _runs_as("attributes")
    assert _resolve(None, plan, application).security_context.run_as.iam_role == "arn"


def test_shown_defaults() -> None:
    """What a launch form shows: the stored settings, with the installation's where they say nothing."""
    application = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=25, labels={"values": {"a": "application"}}
    )
    application.security_context.CopyFrom(_runs_as("application"))
    own = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=3)
    shown = with_defaults(own, application)
    assert shown.max_parallelism == 3
    assert dict(shown.labels.values) == {"a": "application"}
    assert shown.security_context == _runs_as("application")
    assert with_defaults(matchable_resource_pb2.WorkflowExecutionConfig(), APPLICATION) == APPLICATION


def test_project_labels_fill_free_keys() -> None:
    """Labels of the project come last and never replace one."""
    request = execution_pb2.ExecutionSpec(labels=common_pb2.Labels(values={"team": "mine"}))
    config = _resolve(request, project_labels={"team": "theirs", "cost": "7"})
    assert dict(config.labels.values) == {"team": "mine", "cost": "7"}


def test_interruptible_is_taken_when_set_at_all() -> None:
    """False said by the request beats true said by the launch plan; the installation counts only when true."""
    request, plan = execution_pb2.ExecutionSpec(), launch_plan_pb2.LaunchPlanSpec()
    request.interruptible.value = False
    plan.interruptible.value = True
    config = _resolve(request, plan)
    assert config.HasField("interruptible")
    assert not config.interruptible.value
    assert _resolve(None, plan).interruptible.value
    application = matchable_resource_pb2.WorkflowExecutionConfig()
    application.interruptible.value = True
    assert _resolve(None, None, application).interruptible.value


def test_overwriting_the_cache_is_said_by_any_layer() -> None:
    """One layer that wants the cache overwritten is enough."""
    assert _resolve(None, launch_plan_pb2.LaunchPlanSpec(overwrite_cache=True)).overwrite_cache


def test_security_context_that_names_nobody_is_unset() -> None:
    """The console sends a context with an empty identity: its secrets go with it, the launch plan's counts."""
    empty = security_pb2.SecurityContext(run_as=security_pb2.Identity(), secrets=[security_pb2.Secret(group="g")])
    request = execution_pb2.ExecutionSpec(security_context=empty)
    plan = launch_plan_pb2.LaunchPlanSpec(security_context=_runs_as("plan"))
    assert _resolve(request, plan).security_context == _runs_as("plan")
    assert not _resolve(request).security_context.secrets


@pytest.mark.parametrize(
    ("request_spec", "plan_spec", "account", "role"),
    [
        (
            execution_pb2.ExecutionSpec(auth_role=common_pb2.AuthRole(kubernetes_service_account="request")),
            launch_plan_pb2.LaunchPlanSpec(auth_role=common_pb2.AuthRole(kubernetes_service_account="plan")),
            "request",
            "",
        ),
        (
            execution_pb2.ExecutionSpec(),
            launch_plan_pb2.LaunchPlanSpec(auth=launch_plan_pb2.Auth(assumable_iam_role="arn")),
            "",
            "arn",
        ),
        (execution_pb2.ExecutionSpec(), launch_plan_pb2.LaunchPlanSpec(role="arn"), "", "arn"),
    ],
)
def test_deprecated_roles_count_when_no_context_is_set(
    request_spec: execution_pb2.ExecutionSpec, plan_spec: launch_plan_pb2.LaunchPlanSpec, account: str, role: str
) -> None:
    """Older clients say by roles as whom to run: the request's first, then the launch plan's three ways."""
    run_as = _resolve(request_spec, plan_spec).security_context.run_as
    assert (run_as.k8s_service_account, run_as.iam_role) == (account, role)


def test_caller_becomes_the_execution_identity() -> None:
    """Who asks is recorded unless the context names an execution identity."""
    assert _resolve(caller="me").security_context.run_as.execution_identity == "me"
    named = security_pb2.SecurityContext(run_as=security_pb2.Identity(execution_identity="you"))
    request = execution_pb2.ExecutionSpec(security_context=named)
    assert _resolve(request, caller="me").security_context.run_as.execution_identity == "you"


def test_notifications_come_from_the_request_unless_it_has_none() -> None:
    """An empty list (flytekit's) leaves the launch plan's rules in force, `disable_all` turns them off."""
    rule = common_pb2.Notification(phases=[4], email=common_pb2.EmailNotification(recipients_email=["a@b"]))
    other = common_pb2.Notification(phases=[6], email=common_pb2.EmailNotification(recipients_email=["c@d"]))
    plan = launch_plan_pb2.LaunchPlanSpec(entity_metadata=launch_plan_pb2.LaunchPlanMetadata(notifications=[rule]))
    empty = execution_pb2.ExecutionSpec(notifications=execution_pb2.NotificationList())
    assert list(resolve_notifications(empty, plan)) == [rule]
    own = execution_pb2.ExecutionSpec(notifications=execution_pb2.NotificationList(notifications=[other]))
    assert list(resolve_notifications(own, plan)) == [other]
    assert not resolve_notifications(execution_pb2.ExecutionSpec(disable_all=True), plan)


def test_annotations_of_ours_go_no_further() -> None:
    """They are read by the launch; a map that holds nothing else leaves the others their say."""
    own = common_pb2.Annotations(values={"wingbeat.dev/deadline": "1h"})
    config = _resolve(
        execution_pb2.ExecutionSpec(annotations=own),
        launch_plan_pb2.LaunchPlanSpec(
            annotations=common_pb2.Annotations(values={"wingbeat.dev/overlap": "queue", "note": "plan"})
        ),
    )
    assert dict(config.annotations.values) == {"note": "plan"}


def _cache(said: str) -> common_pb2.Annotations:
    return common_pb2.Annotations(values={"wingbeat.dev/cache": said})


def test_the_cache_is_switched_by_the_first_that_says_so() -> None:
    """Request, launch plan, attributes of a project, installation; tasks see the rest of the annotations alone, and
    executions that launch plan nodes make inherit the switch."""
    off_by_project = matchable_resource_pb2.WorkflowExecutionConfig(annotations=_cache("off"))
    assert _resolve(attributes=[off_by_project]).annotations.values["wingbeat.dev/cache"] == "off"
    request = execution_pb2.ExecutionSpec(annotations=_cache("on"))
    assert not _resolve(request, attributes=[off_by_project]).annotations.values
    launch_plan = launch_plan_pb2.LaunchPlanSpec(annotations=_cache("off"))
    assert _resolve(None, launch_plan).annotations.values["wingbeat.dev/cache"] == "off"
    assert not _resolve(request, launch_plan).annotations.values
    assert cache_mode(_resolve(attributes=[off_by_project])) is CacheMode.OFF
    assert cache_mode(_resolve(execution_pb2.ExecutionSpec(overwrite_cache=True))) is CacheMode.OVERWRITE
    assert cache_mode(_resolve()) is CacheMode.USE


def test_a_switch_that_cannot_be_read_is_refused() -> None:
    """Wherever it stands."""
    with pytest.raises(ApiError, match="on or off is expected"):
        _resolve(attributes=[matchable_resource_pb2.WorkflowExecutionConfig(annotations=_cache("no"))])
