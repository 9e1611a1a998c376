"""Launches by AdminService, one call each, for servers without LaunchService.

Such servers know no idempotency keys. The execution's name stands in for one: it is the caller's, or made of the key,
so that a call whose answer was lost finds the execution that it made.
"""

import hashlib
from typing import TYPE_CHECKING

from wingbeat.core import ADMIN, Core
from wingbeat.errors import AlreadyExistsError, ServerError
from wingbeat.identifiers import ExecutionId

if TYPE_CHECKING:
    from flyteidl.admin import execution_pb2

    from wingbeatidl.launch.v1 import item_pb2, outcome_pb2


async def create_execution(client: Core, item: "item_pb2.LaunchItem") -> "outcome_pb2.LaunchOutcome":
    """Launch one item that names a fixed version. Raises ServerError when the server does not answer, as for a call of
    LaunchService; what is refused is an outcome."""
    from flyteidl.admin import execution_pb2
    from google.rpc import code_pb2

    from wingbeatidl.launch.v1 import outcome_pb2

    name = item.name or "k" + hashlib.sha256(item.idempotency_key.encode()).hexdigest()[:19]
    outcome = outcome_pb2.LaunchOutcome(status=outcome_pb2.LAUNCH_STATUS_CREATED)
    identifier = ExecutionId(item.project, item.domain, name)
    outcome.execution.CopyFrom(identifier.wingbeat())
    try:
        await client.call(f"{ADMIN}CreateExecution", _request(item, name), execution_pb2.ExecutionCreateResponse)
    except AlreadyExistsError as error:
        if item.name:
            outcome.status, outcome.message = outcome_pb2.LAUNCH_STATUS_CONFLICT, error.message
        else:
            outcome.status = outcome_pb2.LAUNCH_STATUS_EXISTING
    except ServerError as error:
        if error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED", "INTERNAL", "RESOURCE_EXHAUSTED"}:
            raise
        outcome = outcome_pb2.LaunchOutcome(
            status=outcome_pb2.LAUNCH_STATUS_REFUSED, code=code_pb2.Code.Value(error.code), message=error.message
        )
        for violation in error.violations:
            outcome.violations.add(field=violation.field, description=violation.description)
    return outcome


def _request(item: "item_pb2.LaunchItem", name: str) -> "execution_pb2.ExecutionCreateRequest":
    from flyteidl.admin import execution_pb2
    from flyteidl.core import identifier_pb2, literals_pb2

    from wingbeatidl.launch.v1 import item_pb2

    target, settings = item.target, item.overrides
    is_task = target.kind == item_pb2.TARGET_KIND_TASK
    spec = execution_pb2.ExecutionSpec(
        launch_plan=identifier_pb2.Identifier(
            resource_type=identifier_pb2.TASK if is_task else identifier_pb2.LAUNCH_PLAN,
            project=target.project,
            domain=target.domain,
            name=target.name,
            version=target.version,
        ),
        metadata=execution_pb2.ExecutionMetadata(mode=execution_pb2.ExecutionMetadata.MANUAL),
        max_parallelism=settings.max_parallelism,
        overwrite_cache=settings.overwrite_cache,
        tags=settings.tags,
    )
    spec.labels.values.update(item.labels)
    spec.annotations.values.update(item.annotations)
    if settings.raw_output_prefix:
        spec.raw_output_data_config.output_location_prefix = settings.raw_output_prefix
    if settings.HasField("interruptible"):
        spec.interruptible.value = settings.interruptible
    for key, value in settings.envs.items():
        spec.envs.values.add(key=key, value=value)
    if settings.service_account or settings.iam_role:
        spec.security_context.run_as.k8s_service_account = settings.service_account
        spec.security_context.run_as.iam_role = settings.iam_role
    return execution_pb2.ExecutionCreateRequest(
        project=item.project,
        domain=item.domain,
        name=name,
        spec=spec,
        inputs=literals_pb2.LiteralMap.FromString(item.inputs.literals),
    )
