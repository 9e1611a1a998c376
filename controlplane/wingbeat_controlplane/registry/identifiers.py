"""Checks of identifiers in requests. Names and versions have no pattern: any text but NUL, up to a size."""

from typing import Protocol

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import invalid_argument, invalid_value, missing, shown

NAME_BYTES_MAX = 1_024
"""Largest name or version in UTF-8; project, domain, name and version are one key of an index with a limited size."""

GENERATED_PREFIX = ".flytegen."
"""Names of workflows and launch plans that the server makes for executions of single tasks begin so."""

_KINDS: dict[int, str] = {
    identifier_pb2.TASK: "task",
    identifier_pb2.WORKFLOW: "workflow",
    identifier_pb2.LAUNCH_PLAN: "launch plan",
    identifier_pb2.DATASET: "dataset",
}


class _Scoped(Protocol):
    """A message with the fields that most ids begin with."""

    @property
    def project(self) -> str: ...
    @property
    def domain(self) -> str: ...


def kind_of(resource_type: int) -> str:
    """The resource type as a word of a sentence."""
    return _KINDS.get(resource_type, "unspecified")


def check_text(field: str, value: str) -> None:
    """A required text that becomes part of a key: not empty, no NUL, at most NAME_BYTES_MAX bytes."""
    if not value:
        raise missing(field)
    check_optional_text(field, value)


def check_optional_text(field: str, value: str) -> None:
    """As `check_text`, but empty is fine."""
    if "\0" in value:
        raise invalid_value(field)
    if len(value) > NAME_BYTES_MAX or len(value.encode()) > NAME_BYTES_MAX:
        raise invalid_argument(f"invalid value for {field}: longer than {NAME_BYTES_MAX} bytes")


def check_scope(scope: _Scoped) -> None:
    """Project and domain are given."""
    check_text("project", scope.project)
    check_text("domain", scope.domain)


def check_name(scope: _Scoped, name: str) -> None:
    """Project, domain and name are given."""
    check_scope(scope)
    check_text("name", name)


def imply_type(identifier: identifier_pb2.Identifier, resource_type: int) -> None:
    """Give an id that says no type the one that the rpc is about: the paths of REST have no place for it."""
    if identifier.resource_type == identifier_pb2.UNSPECIFIED:
        identifier.resource_type = resource_type  # pyright: ignore[reportAttributeAccessIssue]


def check_identifier(identifier: identifier_pb2.Identifier, resource_type: int | None = None) -> None:
    """Project, domain, name and version are given; with `resource_type`, the id is of that type.

    Raises ApiError INVALID_ARGUMENT, wording of Flyte v1.
    """
    if resource_type is not None and identifier.resource_type != resource_type:
        found, expected = kind_of(identifier.resource_type), kind_of(resource_type)
        raise invalid_argument(
            f"unexpected resource type {found} for identifier [{shown(identifier)}], expected {expected} instead"
        )
    check_name(identifier, identifier.name)
    check_text("version", identifier.version)
