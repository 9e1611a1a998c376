"""The settings an execution runs with: request, launch plan and installation, the first that says something wins.

Field by field, and maps as a whole. The result is stored with the execution, so that the engine asks nobody.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import security_pb2

Layer: TypeAlias = (
    execution_pb2.ExecutionSpec | launch_plan_pb2.LaunchPlanSpec | matchable_resource_pb2.WorkflowExecutionConfig
)
"""Messages that share the names of these settings."""


def resolve_settings(
    request: execution_pb2.ExecutionSpec,
    launch_plan: launch_plan_pb2.LaunchPlanSpec,
    application: matchable_resource_pb2.WorkflowExecutionConfig,
    *,
    project_labels: Mapping[str, str],
    caller: str,
) -> matchable_resource_pb2.WorkflowExecutionConfig:
    """Effective settings. `caller` becomes the execution identity where none is named; labels of the project fill keys
    that the winning labels leave free."""
    layers: tuple[Layer, ...] = (request, launch_plan, application)
    config = matchable_resource_pb2.WorkflowExecutionConfig(
        max_parallelism=next((layer.max_parallelism for layer in layers if layer.max_parallelism > 0), 0),
        overwrite_cache=any(layer.overwrite_cache for layer in layers),
        security_context=_security(request, launch_plan, application, caller),
    )
    for layer in layers:
        if layer.raw_output_data_config.output_location_prefix:
            config.raw_output_data_config.CopyFrom(layer.raw_output_data_config)
            break
    for layer in layers:
        if layer.labels.values:
            config.labels.CopyFrom(layer.labels)
            break
    for layer in layers:
        if layer.annotations.values:
            config.annotations.CopyFrom(layer.annotations)
            break
    for layer in layers:
        if layer.envs.values:
            config.envs.CopyFrom(layer.envs)
            break
    for layer in (request, launch_plan):
        if layer.HasField("interruptible"):
            config.interruptible.CopyFrom(layer.interruptible)
            break
    else:
        if application.interruptible.value:
            config.interruptible.value = True
    for layer in layers:
        if layer.execution_env_assignments:
            config.execution_env_assignments.extend(layer.execution_env_assignments)
            break
    for key, value in project_labels.items():
        if key not in config.labels.values:
            config.labels.values[key] = value
    return config


def resolve_notifications(
    request: execution_pb2.ExecutionSpec, launch_plan: launch_plan_pb2.LaunchPlanSpec
) -> Sequence[common_pb2.Notification]:
    """The request's rules if it has some, none if it turns them off, else the launch plan's."""
    if request.notifications.notifications:
        return request.notifications.notifications
    if request.disable_all:
        return ()
    return launch_plan.entity_metadata.notifications


def _security(
    request: execution_pb2.ExecutionSpec,
    launch_plan: launch_plan_pb2.LaunchPlanSpec,
    application: matchable_resource_pb2.WorkflowExecutionConfig,
    caller: str,
) -> security_pb2.SecurityContext:
    chosen = security_pb2.SecurityContext()
    for context in (
        request.security_context,
        launch_plan.security_context,
        _from_deprecated(request, launch_plan),
        application.security_context,
    ):
        if _names_somebody(context.run_as):
            chosen.CopyFrom(context)
            break
    chosen.run_as.SetInParent()
    if not chosen.run_as.execution_identity:
        chosen.run_as.execution_identity = caller
    return chosen


def _names_somebody(identity: security_pb2.Identity) -> bool:
    """A context that runs as nobody in particular counts as unset, its secrets included."""
    return bool(identity.iam_role or identity.k8s_service_account or identity.execution_identity)


def _from_deprecated(
    request: execution_pb2.ExecutionSpec, launch_plan: launch_plan_pb2.LaunchPlanSpec
) -> security_pb2.SecurityContext:
    """What older clients say by auth roles."""
    for role in (request.auth_role, launch_plan.auth_role, launch_plan.auth):
        if role.assumable_iam_role or role.kubernetes_service_account:
            return security_pb2.SecurityContext(
                run_as=security_pb2.Identity(
                    iam_role=role.assumable_iam_role, k8s_service_account=role.kubernetes_service_account
                )
            )
    return security_pb2.SecurityContext(run_as=security_pb2.Identity(iam_role=launch_plan.role))
