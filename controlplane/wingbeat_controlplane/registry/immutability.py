"""Answers to registering an id again: the same structure was accepted before, a different one is an error."""

from flyteidl.admin import workflow_pb2
from flyteidl.core import identifier_pb2
from google.protobuf.message import Message

from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument
from wingbeat_controlplane.registry.identifiers import kind_of

DIFF_LENGTH_MAX = 16_000
"""Characters of the diff that stand in the message."""


def identical(identifier: identifier_pb2.Identifier) -> ApiError:
    """ALREADY_EXISTS: the very structure is stored under this id. Clients count it as success."""
    details: list[Message] = []
    if identifier.resource_type == identifier_pb2.WORKFLOW:
        exists = workflow_pb2.WorkflowErrorExistsIdenticalStructure(id=identifier)
        details.append(workflow_pb2.CreateWorkflowFailureReason(exists_identical_structure=exists))
    return already_exists(f"{kind_of(identifier.resource_type)} with identical structure already exists", details)


def different(identifier: identifier_pb2.Identifier, diff: str) -> ApiError:
    """INVALID_ARGUMENT: another structure is stored under this id; `diff` tells stored from given."""
    details: list[Message] = []
    if identifier.resource_type == identifier_pb2.WORKFLOW:
        exists = workflow_pb2.WorkflowErrorExistsDifferentStructure(id=identifier)
        details.append(workflow_pb2.CreateWorkflowFailureReason(exists_different_structure=exists))
    kind = kind_of(identifier.resource_type)
    shown = diff if len(diff) <= DIFF_LENGTH_MAX else f"{diff[:DIFF_LENGTH_MAX]}\n... (cut)"
    return invalid_argument(
        f"{identifier.name} {kind} with different structure already exists."
        f" (Please register a new version of the {kind}):\n{shown}",
        details,
    )
