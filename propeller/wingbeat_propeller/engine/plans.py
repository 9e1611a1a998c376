"""Plans by workflow id, built once and shared by all executions of that version."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from flyteidl.core import compiler_pb2

from wingbeat_propeller.compiler.plan import build_plan
from wingbeat_propeller.core.plan import Plan

INLINE_BYTES_MAX = 256 << 10
"""Largest closure built on the event loop; the leases of this process would not outlive some larger ones."""


class PlanCache:
    """Least recently used plans up to `size_max`; one load at a time for each workflow."""

    def __init__(self, load_closure: Callable[[int], Awaitable[bytes]], size_max: int = 1000) -> None:
        self._load_closure = load_closure
        self._size_max = size_max
        self._plans: OrderedDict[int, Plan] = OrderedDict()
        self._loading: dict[int, asyncio.Lock] = {}

    async def get(self, workflow_id: int) -> Plan:
        """The plan of a stored workflow. Raises MalformedClosureError, LookupError for an unknown id."""
        plan = self._plans.get(workflow_id)
        if plan is not None:
            self._plans.move_to_end(workflow_id)
            return plan
        async with self._loading.setdefault(workflow_id, asyncio.Lock()):
            plan = self._plans.get(workflow_id)
            if plan is None:
                closure = await self._load_closure(workflow_id)
                if len(closure) > INLINE_BYTES_MAX:
                    plan = await asyncio.to_thread(_build, closure)
                else:
                    plan = _build(closure)
                self._plans[workflow_id] = plan
                if len(self._plans) > self._size_max:
                    self._plans.popitem(last=False)
        self._loading.pop(workflow_id, None)
        return plan


def _build(closure: bytes) -> Plan:
    return build_plan(compiler_pb2.CompiledWorkflowClosure.FromString(closure))
