"""The environment of this process, which is another one for each task."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import cast

_given: dict[str, str] = {}
"""What the last task was given."""
_left: dict[object, object] = {}
"""The environment as it was then, encoded."""


def set_environment(env: Mapping[str, str]) -> None:
    """Make `env` the whole environment. Tasks of one child differ in a few variables and rarely change any, so only
    what differs from the task before is set."""
    global _given, _left
    current = os.environ
    zone = current.get("TZ")
    # The mapping behind os.environ; reading that by its own methods decodes each variable.
    encoded = cast("dict[object, object] | None", getattr(current, "_data", None))
    before = _given if encoded is not None and encoded == _left else dict(current)
    for key in before.keys() - env.keys():
        del current[key]
    for key, value in env.items():
        if before.get(key) != value:
            current[key] = value
    _given, _left = dict(env), dict(encoded or {})
    if current.get("TZ") != zone:
        time.tzset()
