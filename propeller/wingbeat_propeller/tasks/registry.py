"""Which plugin builds the requests of which task type.

Third parties add a plugin by an entry point of group `wingbeat.tasks` that names a class (or factory) without
arguments. Theirs come before ours, so a built-in type can be replaced; a plugin that cannot be loaded is logged and
left out, and tasks of its types fall to the container plugin, which says that nothing is installed for them.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Self, cast

import structlog

from wingbeat_propeller.ports.tasks import TaskPlugin
from wingbeat_propeller.tasks.container import ContainerPlugin
from wingbeat_propeller.tasks.echo import EchoPlugin

ENTRY_POINT_GROUP = "wingbeat.tasks"

_log = structlog.get_logger(__name__)


class TaskPlugins:
    """Plugins by task type. The first one given for a type wins; `default` serves all other types."""

    def __init__(self, plugins: Iterable[TaskPlugin], default: TaskPlugin) -> None:
        self._default = default
        self._by_type: dict[str, TaskPlugin] = {}
        for plugin in plugins:
            for task_type in plugin.task_types:
                self._by_type.setdefault(task_type, plugin)

    @classmethod
    def installed(cls, *, echo_sleep_s: float = 0.0) -> Self:
        """The built-in plugins and those that installed distributions offer; see EchoPlugin for `echo_sleep_s`."""
        default = ContainerPlugin()
        return cls([*_offered_plugins(), EchoPlugin(echo_sleep_s), default], default)

    def for_type(self, task_type: str) -> TaskPlugin:
        """The plugin for a task type; unknown types get the default one."""
        return self._by_type.get(task_type, self._default)

    def runs_in_engine(self, task_type: str) -> bool:
        """Whether the engine carries out tasks of this type itself."""
        return bool(getattr(self.for_type(task_type), "runs_in_engine", False))


def _offered_plugins() -> list[TaskPlugin]:
    plugins: list[TaskPlugin] = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            factory = cast("Callable[[], TaskPlugin]", entry_point.load())
            plugins.append(factory())
        except Exception:  # noqa: BLE001 - code of third parties: one broken plugin must not stop the engine
            _log.exception("a task plugin cannot be loaded", entry_point=entry_point.value)
    return plugins
