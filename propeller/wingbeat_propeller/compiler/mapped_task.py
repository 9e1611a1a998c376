"""Which task a map task of flytekit runs for each element: its arguments say so, nothing else does. Pure."""

from flyteidl.core import tasks_pb2

_PROGRAM = "pyflyte-map-execute"
_MODULE = "task-module"
_NAME = "task-name"


def mapped_task(template: tasks_pb2.TaskTemplate) -> str | None:
    """Name of the task; None for a template that maps none, or one that is found in another way than by its module."""
    arguments = list(template.container.args)
    if _PROGRAM not in arguments:
        return None
    loader = arguments[arguments.index(_PROGRAM) :]
    if _MODULE not in loader[:-1] or _NAME not in loader[:-1]:
        return None
    return f"{loader[loader.index(_MODULE) + 1]}.{loader[loader.index(_NAME) + 1]}"
