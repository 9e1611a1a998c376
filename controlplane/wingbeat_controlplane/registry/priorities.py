"""The priority of executions: which of them an engine begins first, and whose tasks it starts first when room is short.

Execution, launch plan, matchable attributes and installation may say it by an annotation; the first that does counts.
It acts within the turn of a project and domain, so nobody overtakes other tenants by it.
"""

import re
from collections.abc import Mapping

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.registry.own_annotations import PRIORITY

PRIORITY_MAX = 100

_FORM = re.compile(r"-?\d{1,3}", re.ASCII)


def stated_priority(annotations: Mapping[str, str]) -> int | None:
    """What one execution, launch plan or level of attributes says. Raises ApiError INVALID_ARGUMENT."""
    if PRIORITY not in annotations:
        return None
    text = annotations[PRIORITY]
    if not _FORM.fullmatch(text) or abs(int(text)) > PRIORITY_MAX:
        raise invalid_argument(
            f"invalid annotation [{PRIORITY}]: a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX} is expected,"
            f" not [{text[:100]}]"
        )
    return int(text)
