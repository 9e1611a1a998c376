"""Executions as people type them."""

import re
from typing import Annotated, TypeAlias

import typer

from wingbeatidl.query.v1 import identity_pb2

Execution: TypeAlias = Annotated[
    str, typer.Argument(metavar="EXECUTION", help="Name of the execution, or project/domain/name.")
]
Project: TypeAlias = Annotated[str, typer.Option("--project", "-p", help="Project of an execution named by its name.")]
Domain: TypeAlias = Annotated[str, typer.Option("--domain", "-d", help="Domain of an execution named by its name.")]

PROJECT = "flytesnacks"
DOMAIN = "development"

_SEPARATOR = re.compile(r"[/:]")


def parse_execution(text: str, project: str, domain: str) -> identity_pb2.ExecutionIdentifier:
    """The execution meant by `name`, `project/domain/name` or `project:domain:name`. Raises ValueError."""
    parts = _SEPARATOR.split(text)
    if len(parts) == 1:
        parts = [project, domain, text]
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"'{text}' names no execution; write its name, or project/domain/name")
    return identity_pb2.ExecutionIdentifier(project=parts[0], domain=parts[1], name=parts[2])


def execution_path(identifier: identity_pb2.ExecutionIdentifier) -> str:
    """An execution as one word."""
    return f"{identifier.project}/{identifier.domain}/{identifier.name}"
