"""The environment of this process, which is another one for each task."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import cast


class Environment:
    """What tasks of a child have in common, and what the one under way has beside it.

    Tasks differ in a few variables and rarely change any, so only what differs from the task before is set.
    """

    def __init__(self, shared: Mapping[str, str]) -> None:
        self._shared = dict(shared)
        self._own: dict[str, str] = {}
        self._left: dict[object, object] | None = None
        """The environment as it was last set, encoded as the interpreter keeps it."""
        self.begin({})

    def get(self, name: str) -> str | None:
        """As the task under way was given it."""
        found = self._own.get(name)
        return self._shared.get(name) if found is None else found

    def begin(self, own: Mapping[str, str]) -> None:
        """Make `own`, and what tasks have in common, the whole environment."""
        current = os.environ
        zone = current.get("TZ")
        if self._left is None or _encoded() != self._left:
            env = {**self._shared, **own}
            for name in current.keys() - env.keys():
                del current[name]
            changed = env
        else:
            changed = dict(own)
            for name in self._own.keys() - own.keys():
                if name in self._shared:
                    changed[name] = self._shared[name]
                else:
                    del current[name]
        for name, value in changed.items():
            if current.get(name) != value:
                current[name] = value
        self._own = dict(own)
        self._left = _copy(_encoded())
        if current.get("TZ") != zone:
            time.tzset()

    def add_to_search_path(self, folder: str) -> None:
        """Tasks find modules in one more folder, and so do programs that they start."""
        path = os.pathsep.join(filter(None, (self._shared.get("PYTHONPATH"), folder)))
        self._shared["PYTHONPATH"] = os.environ["PYTHONPATH"] = path
        self._left = _copy(_encoded())


def _encoded() -> dict[object, object] | None:
    """The mapping behind os.environ, whose own methods decode each variable."""
    return cast("dict[object, object] | None", getattr(os.environ, "_data", None))


def _copy(encoded: dict[object, object] | None) -> dict[object, object] | None:
    return None if encoded is None else dict(encoded)
