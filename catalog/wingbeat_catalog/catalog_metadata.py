"""PURE: what clients see of an entry: flyteidl.core.CatalogMetadata, from its parts."""

from flyteidl.core import catalog_pb2, identifier_pb2

from wingbeat_propeller.ports.cache import CacheSource

UNKNOWN = "unknown"
"""What Flyte v1 says of a source that a foreign client did not name."""


TASK_VERSION = "task-version"
"""Key in the metadata of a dataset (contract CP §13.1)."""
EXECUTION_PROJECT = "exec-project"
EXECUTION_DOMAIN = "exec-domain"
EXECUTION_NAME = "execution-name"
EXECUTION_NODE = "exec-node"
EXECUTION_ATTEMPT = "exec-attempt"
"""Keys in the metadata of an artifact."""


def with_tag(dataset: bytes, tag: str, artifact_id: str = "") -> bytes:
    """Serialized metadata with the dataset (serialized metadata that holds it alone) and a tag."""
    name = catalog_pb2.CatalogArtifactTag(artifact_id=artifact_id, name=tag)
    return dataset + catalog_pb2.CatalogMetadata(artifact_tag=name).SerializeToString()


def with_source(
    dataset: bytes, tag: str, artifact_id: str, entity: identifier_pb2.Identifier, source: CacheSource
) -> bytes:
    """As `with_tag`, with the task execution that made it, or the sub-workflow node; `entity` is what it ran, without
    its version."""
    execution = identifier_pb2.WorkflowExecutionIdentifier(
        project=source.project or entity.project,
        domain=source.domain or entity.domain,
        name=source.execution or UNKNOWN,
    )
    made_by = identifier_pb2.TaskExecutionIdentifier(
        task_id=identifier_pb2.Identifier(
            resource_type=entity.resource_type,
            project=entity.project,
            domain=entity.domain,
            name=entity.name,
            version=source.task_version or UNKNOWN,
        ),
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(
            node_id=source.node_id or UNKNOWN, execution_id=execution
        ),
        retry_attempt=source.attempt,
    )
    metadata = catalog_pb2.CatalogMetadata(
        artifact_tag=catalog_pb2.CatalogArtifactTag(artifact_id=artifact_id, name=tag), source_task_execution=made_by
    )
    return dataset + metadata.SerializeToString()
