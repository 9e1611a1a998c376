"""The settings an execution runs with: request, launch plan, matchable attributes and installation, in this order.

Field by field the first that says something wins, and maps are taken as a whole. Of the attributes of workflow, domain
and project, those of the most specific level that has any count, and then the project's: this is Flyte v1's rule, and a
domain's attributes are passed over where the workflow has its own. The result is stored with the execution, so that the
engine asks nobody.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import security_pb2

from wingbeat_controlplane.registry.own_annotations import CACHE, stated_cache, without_own
from wingbeat_propeller.core.cache_switch import CACHE_OFF

Config: TypeAlias = matchable_resource_pb2.WorkflowExecutionConfig

Layer: TypeAlias = execution_pb2.ExecutionSpec | launch_plan_pb2.LaunchPlanSpec | Config
"""Messages that share the names of these settings."""


def resolve_settings(
    request: execution_pb2.ExecutionSpec,
    launch_plan: launch_plan_pb2.LaunchPlanSpec,
    attributes: Sequence[Config],
    application: Config,
    *,
    project_labels: Mapping[str, str],
    caller: str,
) -> Config:
    """Effective settings; `attributes` are those that match, the most specific first. `caller` becomes the execution
    identity where none is named; labels of the project fill keys that the winning labels leave free. Annotations of
    our own are read by the launch, each by itself, and go no further, neither to tasks nor to children, but for the one
    that switches the cache off. Raises ApiError INVALID_ARGUMENT for one that cannot be read."""
    said = (request, launch_plan, *attributes)
    config = _resolve(said, application)
    config.security_context.CopyFrom(_security(said, _from_deprecated(request, launch_plan), application, caller))
    config.ClearField("annotations")
    for layer in (*said, application):
        if annotations := without_own(layer.annotations.values):
            config.annotations.values.update(annotations)
            break
    caches = (stated_cache(layer.annotations.values) for layer in (*said, application))
    if next((said_so for said_so in caches if said_so is not None), None) == CACHE_OFF:
        config.annotations.values[CACHE] = CACHE_OFF
    for key, value in project_labels.items():
        if key not in config.labels.values:
            config.labels.values[key] = value
    return config


def with_defaults(config: Config, application: Config) -> Config:
    """Settings of one level, with the installation's where it says nothing."""
    shown = _resolve((config,), application)
    for layer in (config, application):
        if _names_somebody(layer.security_context.run_as):
            shown.security_context.CopyFrom(layer.security_context)
            break
    return shown


def _resolve(said: Sequence[Layer], application: Config) -> Config:
    """Everything but the security context."""
    layers = (*said, application)
    config = Config(
        max_parallelism=next((layer.max_parallelism for layer in layers if layer.max_parallelism > 0), 0),
        overwrite_cache=any(layer.overwrite_cache for layer in layers),
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
    for layer in said:
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
    said: Sequence[Layer], deprecated: security_pb2.SecurityContext, application: Config, caller: str
) -> security_pb2.SecurityContext:
    chosen = security_pb2.SecurityContext()
    for context in (*(layer.security_context for layer in said), deprecated, application.security_context):
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
