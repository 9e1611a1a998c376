"""Rows' columns as identifiers."""

import asyncpg
from flyteidl.core import identifier_pb2


def identifier_of(row: asyncpg.Record, resource_type: identifier_pb2.ResourceType) -> identifier_pb2.Identifier:
    """The identifier that a row of a table of versions stands for."""
    return identifier_pb2.Identifier(
        resource_type=resource_type,
        project=row["project"],
        domain=row["domain"],
        name=row["name"],
        version=row["version"],
    )
