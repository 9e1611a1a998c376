"""The ExecutionSpec as GetExecution shows it: the caller's, with the few fields that the server decides."""

from flyteidl.admin import execution_pb2, matchable_resource_pb2
from flyteidl.core import identifier_pb2


def shown_spec(
    request: execution_pb2.ExecutionCreateRequest,
    config: matchable_resource_pb2.WorkflowExecutionConfig,
    *,
    principal: str,
    parent: execution_pb2.ExecutionSpec | None,
) -> execution_pb2.ExecutionSpec:
    """Inputs go out; principal, nesting, system metadata and the resolved security context come in.

    A request that refers to an execution and names no mode is a relaunch: that is how the console sends changed inputs.

    What else was resolved (labels, environment and so on) is not shown: the spec says what was asked for. Executions of
    a launch plan show the resolved parallelism. `parent` is the spec of the execution whose launch plan node asked: its
    depth and its cluster label go on.
    """
    spec = execution_pb2.ExecutionSpec()
    spec.CopyFrom(request.spec)
    spec.ClearField("inputs")
    spec.metadata.principal = principal
    if spec.metadata.reference_execution.ByteSize() and spec.metadata.mode == execution_pb2.ExecutionMetadata.MANUAL:
        spec.metadata.mode = execution_pb2.ExecutionMetadata.RELAUNCH
    if parent is not None:
        spec.metadata.nesting = parent.metadata.nesting + 1
        if parent.HasField("execution_cluster_label"):
            spec.execution_cluster_label.CopyFrom(parent.execution_cluster_label)
    spec.metadata.system_metadata.CopyFrom(
        execution_pb2.SystemMetadata(namespace=f"{request.project}-{request.domain}")
    )
    spec.security_context.CopyFrom(config.security_context)
    if spec.launch_plan.resource_type == identifier_pb2.LAUNCH_PLAN:
        spec.max_parallelism = config.max_parallelism
    return spec
