"""PURE: who made an artifact, as clients of DataCatalog say it: keys of its metadata (contract CP §13.1)."""

import asyncpg
from flyteidl.datacatalog import datacatalog_pb2

from wingbeat_catalog.catalog_metadata import (
    EXECUTION_ATTEMPT,
    EXECUTION_DOMAIN,
    EXECUTION_NAME,
    EXECUTION_NODE,
    EXECUTION_PROJECT,
    TASK_VERSION,
)
from wingbeat_propeller.ports.cache import CacheSource

_ATTEMPT_MAX = 2**31 - 1
_DIGITS_MAX = 20


def source_of(metadata: datacatalog_pb2.Metadata, dataset: datacatalog_pb2.Metadata) -> CacheSource:
    """The source that metadata of an artifact and its dataset name; empty where they do not."""
    keys = metadata.key_map
    attempt = keys.get(EXECUTION_ATTEMPT, "")
    number = int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) <= _DIGITS_MAX else 0
    return CacheSource(
        project=keys.get(EXECUTION_PROJECT, ""),
        domain=keys.get(EXECUTION_DOMAIN, ""),
        execution=keys.get(EXECUTION_NAME, ""),
        node_id=keys.get(EXECUTION_NODE, ""),
        attempt=min(number, _ATTEMPT_MAX),
        element=-1,
        task_version=dataset.key_map.get(TASK_VERSION, ""),
    )


def metadata_of(row: asyncpg.Record) -> datacatalog_pb2.Metadata:
    """The reverse for a row: as it was given, or made from the columns of an entry of the engine."""
    if row["metadata"]:
        return datacatalog_pb2.Metadata.FromString(row["metadata"])
    if not row["source_execution"]:
        return datacatalog_pb2.Metadata()
    return datacatalog_pb2.Metadata(
        key_map={
            EXECUTION_PROJECT: row["source_project"],
            EXECUTION_DOMAIN: row["source_domain"],
            EXECUTION_NAME: row["source_execution"],
            EXECUTION_NODE: row["source_node"],
            EXECUTION_ATTEMPT: str(row["source_attempt"]),
        }
    )
