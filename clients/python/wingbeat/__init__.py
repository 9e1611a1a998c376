"""Wingbeat: typed DAGs at high volume. Importing this package loads nothing else until a name is used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wingbeat.async_client import AsyncClient
    from wingbeat.batches import Batch, BatchCounts, BatchState, Row, RowPhase, RowState
    from wingbeat.changing import Signal
    from wingbeat.client import Client
    from wingbeat.connection import Patience
    from wingbeat.entities import Entity, Version
    from wingbeat.executions import Attempt, AttemptPhase, Execution, Failure, LogLink, Node, NodePhase, Phase
    from wingbeat.identifiers import EntityId, ExecutionId, Kind
    from wingbeat.launching import Launch, Launched, Overrides
    from wingbeat.literals.handles import DataFrame, Directory, File
    from wingbeat.literals.shape import shape
    from wingbeat.watching import Level, Transition

    __version__: str
else:
    _HOMES = {
        "async_client": ("AsyncClient",),
        "batches": ("Batch", "BatchCounts", "BatchState", "Row", "RowPhase", "RowState"),
        "changing": ("Signal",),
        "client": ("Client",),
        "connection": ("Patience",),
        "entities": ("Entity", "Version"),
        "executions": ("Attempt", "AttemptPhase", "Execution", "Failure", "LogLink", "Node", "NodePhase", "Phase"),
        "identifiers": ("EntityId", "ExecutionId", "Kind"),
        "launching": ("Launch", "Launched", "Overrides"),
        "literals.handles": ("DataFrame", "Directory", "File"),
        "literals.shape": ("shape",),
        "watching": ("Level", "Transition"),
    }

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("wingbeat")
        for home, names in _HOMES.items():
            if name in names:
                from importlib import import_module

                value = globals()[name] = getattr(import_module(f"wingbeat.{home}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])


__all__ = [
    "AsyncClient",
    "Attempt",
    "AttemptPhase",
    "Batch",
    "BatchCounts",
    "BatchState",
    "Client",
    "DataFrame",
    "Directory",
    "Entity",
    "EntityId",
    "Execution",
    "ExecutionId",
    "Failure",
    "File",
    "Kind",
    "Launch",
    "Launched",
    "Level",
    "LogLink",
    "Node",
    "NodePhase",
    "Overrides",
    "Patience",
    "Phase",
    "Row",
    "RowPhase",
    "RowState",
    "Signal",
    "Transition",
    "Version",
    "__version__",
    "shape",
]
