"""What a launch would find in the cache: everything is decided as for a launch, nothing is written.

The workflow is walked as the engine would (`foretelling.walk`); what is ready at one moment is looked up together.
"""

import asyncio
from collections.abc import Sequence

from flyteidl.admin import execution_pb2, matchable_resource_pb2
from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.errors import ApiError, failed_precondition, invalid_argument, invalid_value
from wingbeat_controlplane.executions.children import child_spec
from wingbeat_controlplane.executions.foretelling.walk import Child, ForetellingWalk, literals_of
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.core.cache_switch import cache_mode
from wingbeat_propeller.core.values import build_literal_map
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.cache import Cache, CacheAnswer, CacheAsk, CacheFailure
from wingbeat_propeller.ports.executions import ExecutionStore
from wingbeatidl.cache.v1 import foretell_pb2

NODES_DEFAULT = 1_000
NODES_MAX = 10_000
PLANS_KEPT = 50
PAGE = 1_000
"""Calls looked up in one round trip."""
LOOK_UP_S = 10.0
"""How long one may take."""
WALKS_MAX = 2
"""Answers worked out at once; each may hold the outputs of all hits in memory."""


class Foretelling:
    """See the module."""

    def __init__(self, launcher: Launcher, store: ExecutionStore, cache: Cache) -> None:
        self._launcher = launcher
        self._cache = cache
        self._plans = PlanCache(store.workflow_closure, PLANS_KEPT)
        self._walks = asyncio.Semaphore(WALKS_MAX)

    async def foretell(self, request: foretell_pb2.ForetellRequest, caller: Caller) -> foretell_pb2.ForetellResponse:
        """Raises ApiError as `Launcher.resolve` does, and INVALID_ARGUMENT for a request that cannot be read."""
        if not 0 <= request.nodes_max <= NODES_MAX:
            raise invalid_value("nodes_max")
        try:
            create = execution_pb2.ExecutionCreateRequest.FromString(request.create_request)
        except DecodeError as error:
            raise invalid_argument(f"create_request is no serialized ExecutionCreateRequest: {error}") from error
        new = await self._launcher.resolve(create, caller)
        async with self._walks:
            try:
                plan = await self._plans.get(new.decision.target.workflow_id)
            except (MalformedClosureError, LookupError) as error:
                raise failed_precondition(f"the workflow cannot be run: {error}") from error
            config = new.decision.config
            walk = await asyncio.to_thread(
                ForetellingWalk, plan, literals_of(new.inputs), cache_mode(config), config.SerializeToString()
            )
            while True:
                while children := walk.children():
                    for child in children:
                        await self._open_child(walk, child, create, caller)
                asks = walk.calls()
                if not asks:
                    break
                await asyncio.to_thread(walk.answer, await self._look_up(asks))
        limit = request.nodes_max or NODES_DEFAULT
        return foretell_pb2.ForetellResponse(
            nodes=walk.nodes[:limit],
            hit_count=walk.hits,
            run_count=walk.runs,
            open_count=walk.open,
            omitted_count=max(0, len(walk.nodes) - limit),
            version=create.spec.launch_plan.version,
        )

    async def _open_child(
        self, walk: ForetellingWalk, child: Child, parent: execution_pb2.ExecutionCreateRequest, caller: Caller
    ) -> None:
        """As the engine would launch it."""
        config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(child.config)
        request = execution_pb2.ExecutionCreateRequest(
            project=parent.project,
            domain=parent.domain,
            spec=child_spec(child.launch_plan, config),
            inputs=literals_pb2.LiteralMap.FromString(build_literal_map(child.inputs)),
        )
        try:
            new = await self._launcher.resolve(request, caller)
            plan = await self._plans.get(new.decision.target.workflow_id)
        except ApiError as error:
            walk.refuse_child(child, error.message)
            return
        except (MalformedClosureError, LookupError) as error:
            walk.refuse_child(child, f"its workflow cannot be run: {error}")
            return
        config = new.decision.config
        await asyncio.to_thread(
            walk.open_child, child, plan, literals_of(new.inputs), cache_mode(config), config.SerializeToString()
        )

    async def _look_up(self, asks: Sequence[CacheAsk]) -> list[CacheAnswer]:
        answers: list[CacheAnswer] = []
        for start in range(0, len(asks), PAGE):
            page = asks[start : start + PAGE]
            try:
                async with asyncio.timeout(LOOK_UP_S):
                    answers += await self._cache.look_up(page)
            except OSError as error:  # TimeoutError is one
                answers += [CacheFailure(b"", str(error) or "no answer in time")] * len(page)
        return answers
