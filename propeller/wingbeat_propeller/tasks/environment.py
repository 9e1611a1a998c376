"""The environment variables that a task container is given, in the order that decides which one wins.

Later entries replace earlier ones: what the template carries, then who the execution and the task are, then what the
execution asks for. What an installation adds to every task is the runtime's business and comes after all of these.
"""

from collections.abc import Mapping

from flyteidl.core import identifier_pb2

from wingbeat_propeller.ports.tasks import TaskContext


def build_environment(
    template_variables: Mapping[str, str], task: Mapping[str, str], context: TaskContext
) -> dict[str, str]:
    """Environment of one attempt; `template_variables` are those of the container, in their order, `task` what
    `task_variables` says of it."""
    project, domain = context.execution_project, context.execution_domain
    return {
        **template_variables,
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": f"{project}:{domain}:{context.workflow_name}",
        "FLYTE_INTERNAL_EXECUTION_ID": context.execution_name,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": domain,
        "FLYTE_ATTEMPT_NUMBER": str(context.attempt),
        **task,
        **context.envs,
    }


def task_variables(task_id: identifier_pb2.Identifier) -> dict[str, str]:
    """The variables by which a program learns which task it is."""
    return {
        "FLYTE_INTERNAL_TASK_PROJECT": task_id.project,
        "FLYTE_INTERNAL_TASK_DOMAIN": task_id.domain,
        "FLYTE_INTERNAL_TASK_NAME": task_id.name,
        "FLYTE_INTERNAL_TASK_VERSION": task_id.version,
    }
