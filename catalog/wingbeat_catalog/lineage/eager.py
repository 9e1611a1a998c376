"""Which eager task launched an execution. Pure.

An eager task launches by the API, as any client does. What tells of it is what flytekit says: a label with the name of
the execution whose task it is (`store` finds by it), and a name `e-<task>-<execution>-<entity>-<digest>`, of which task
and execution are cut to eight and five characters. Where that fits several nodes, those that ran at the time are meant.
"""

from collections.abc import Sequence
from datetime import datetime

from wingbeat_catalog.lineage.execution_graph import ExecutionGraph, GraphRow
from wingbeat_propeller.core.plan import ArraySpec, TaskSpec

_TASK_CHARACTERS = 8
_EXECUTION_CHARACTERS = 5


def eager_nodes(graph: ExecutionGraph) -> Sequence[str]:
    """Nodes of an execution that run eager tasks."""
    return [node_id for node_id in graph.rows if _eager_task(graph, node_id) is not None]


def launchers(graph: ExecutionGraph, execution: str, child: str, launched_at: datetime) -> Sequence[str]:
    """Nodes of `execution` that may have launched `child`: one, unless the same task ran twice at once."""
    nodes = eager_nodes(graph)
    known = _plain(child)
    named = [
        node_id
        for node_id in nodes
        if known.startswith(_plain(f"e-{_short_name(graph, node_id)}-{execution[:_EXECUTION_CHARACTERS]}"))
    ]
    candidates = named or nodes
    at_work = [node_id for node_id in candidates if _ran_at(graph.rows[node_id], launched_at)]
    return at_work or candidates


def _eager_task(graph: ExecutionGraph, node_id: str) -> TaskSpec | None:
    target = graph.target(node_id)
    task = target.element if isinstance(target, ArraySpec) else target
    return task if isinstance(task, TaskSpec) and task.template.metadata.is_eager else None


def _short_name(graph: ExecutionGraph, node_id: str) -> str:
    task = _eager_task(graph, node_id)
    return "" if task is None else task.name.rpartition(".")[2][:_TASK_CHARACTERS]


def _plain(name: str) -> str:
    """Without what flytekit changes to make a name fit for DNS."""
    return "".join(character for character in name.lower() if character.isalnum())


def _ran_at(row: GraphRow, moment: datetime) -> bool:
    return row.started_at is not None and row.started_at <= moment and (row.ended_at is None or moment <= row.ended_at)
