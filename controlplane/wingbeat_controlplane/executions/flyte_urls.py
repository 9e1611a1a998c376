"""`flyte://` addresses of inputs, outputs and decks; GetData of the data proxy resolves them.

They also stand where Flyte v1 names a blob and Wingbeat keeps a small value in a row: stable, and still fetchable.
"""

from flyteidl.admin import common_pb2
from flyteidl.core import identifier_pb2

_PREFIX = "flyte://v1"
END_NODE = "end-node"


def node_urls(identifier: identifier_pb2.NodeExecutionIdentifier, *, deck: bool) -> common_pb2.FlyteURLs:
    """Addresses of a node; `deck` says whether it has one."""
    base = _node(identifier)
    return common_pb2.FlyteURLs(inputs=f"{base}/i", outputs=f"{base}/o", deck=f"{base}/d" if deck else "")


def task_urls(identifier: identifier_pb2.TaskExecutionIdentifier) -> common_pb2.FlyteURLs:
    """Addresses of one attempt. Decks belong to nodes."""
    base = f"{_node(identifier.node_execution_id)}/{identifier.retry_attempt}"
    return common_pb2.FlyteURLs(inputs=f"{base}/i", outputs=f"{base}/o")


def outputs_url(execution: identifier_pb2.WorkflowExecutionIdentifier) -> str:
    """Address of what an execution returned: the outputs of its end node."""
    return f"{_PREFIX}/{execution.project}/{execution.domain}/{execution.name}/{END_NODE}/o"


def _node(identifier: identifier_pb2.NodeExecutionIdentifier) -> str:
    execution = identifier.execution_id
    return f"{_PREFIX}/{execution.project}/{execution.domain}/{execution.name}/{identifier.node_id}"
