"""Checks of the identifiers that requests about executions carry. Wording is Flyte v1's."""

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import invalid_value, missing

_TEXT_LENGTH_MAX = 2048
"""Longer texts name nothing that can be stored; they are refused before they reach the database."""


def check_execution_id(identifier: identifier_pb2.WorkflowExecutionIdentifier, *, present: bool = True) -> None:
    """Project, domain and name are given; `present` says whether the request had the identifier at all."""
    if not present:
        raise missing("id")
    check_text("project", identifier.project)
    check_text("domain", identifier.domain)
    check_text("name", identifier.name)


def check_node_id(identifier: identifier_pb2.NodeExecutionIdentifier, *, present: bool = True) -> None:
    """A complete execution id and a node id."""
    if not present:
        raise missing("id")
    check_execution_id(identifier.execution_id, present=identifier.HasField("execution_id"))
    check_text("node_id", identifier.node_id)


def check_task_id(identifier: identifier_pb2.TaskExecutionIdentifier, *, present: bool = True) -> None:
    """A complete task id and node execution id. The task's resource type may be unset."""
    if not present:
        raise missing("id")
    if not identifier.HasField("task_id"):
        raise missing("task_id")
    for field in ("project", "domain", "name", "version"):
        check_text(field, getattr(identifier.task_id, field))
    check_node_id(identifier.node_execution_id, present=identifier.HasField("node_execution_id"))


def check_text(field: str, value: str) -> None:
    """A required text that names something stored."""
    if not value:
        raise missing(field)
    if len(value) > _TEXT_LENGTH_MAX or "\0" in value:
        raise invalid_value(field)


def execution_label(identifier: identifier_pb2.WorkflowExecutionIdentifier) -> str:
    """An execution id as one word of a sentence."""
    return f"{identifier.project}:{identifier.domain}:{identifier.name}"
