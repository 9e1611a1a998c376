"""Executions, their nodes and attempts, their values, and waiting for their ends."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from wingbeat.connection import Resumption
from wingbeat.core import ADMIN, PAGE, Core, ExecutionRef, pages
from wingbeat.errors import (
    ExecutionFailedError,
    ExecutionRunningError,
    NotFoundError,
    ServerError,
    UnavailableError,
    UnimplementedError,
    WaitTimeoutError,
)
from wingbeat.executions import Attempt, Execution, Node, Phase, attempt_of, execution_of, node_of
from wingbeat.identifiers import ExecutionId

if TYPE_CHECKING:
    from datetime import datetime

    from flyteidl.admin import common_pb2
    from flyteidl.core import identifier_pb2, literals_pb2

    from wingbeatidl.query.v1 import query_pb2, why_pb2

T = TypeVar("T")

_WAIT = "/wingbeatidl.watch.v1.WatchService/WaitExecutions"
_ASK_S = 120.0
"""A wait is asked again so often, so that a connection that died without a word is noticed."""
_GRACE_S = 30.0
_POLL_S = 0.2
_POLL_S_MAX = 2.0
_HISTORY_PAGE = 5_000
WAIT_MAX = 10_000
"""Executions that are waited for by one call of the server."""


class Reading(Core):
    """Questions about executions."""

    _waits: bool | None = None
    """Whether the server has WaitExecutions, once that is known."""

    async def execution(self, execution: ExecutionRef) -> Execution:
        """How an execution stands. Raises NotFoundError."""
        from flyteidl.admin import execution_pb2

        request = execution_pb2.WorkflowExecutionGetRequest(id=self.execution_id(execution).flyte())
        return execution_of(await self.call(f"{ADMIN}GetExecution", request, execution_pb2.Execution))

    async def exists(self, execution: ExecutionRef) -> bool:
        """Whether there is such an execution."""
        try:
            await self.execution(execution)
        except NotFoundError:
            return False
        return True

    async def executions(
        self,
        *,
        project: str | None = None,
        domain: str | None = None,
        phases: Iterable[Phase] = (),
        launch_plan: str = "",
        workflow: str = "",
        task: str = "",
        filters: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[Execution]:
        """Executions of a project and domain, newest first; `filters` are those of FlyteIDL, `eq(phase,FAILED)`."""
        from flyteidl.admin import common_pb2, execution_pb2

        found = [phase.name if phase is not Phase.CREATED else "UNDEFINED" for phase in phases]
        terms = [
            f"value_in(phase,{';'.join(found)})" if found else "",
            f"eq(launch_plan.name,{launch_plan})" if launch_plan else "",
            f"eq(workflow.name,{workflow})" if workflow else "",
            f"eq(task.name,{task})" if task else "",
            filters,
        ]

        async def fetch(token: str) -> tuple[list[Execution], str]:
            request = common_pb2.ResourceListRequest(
                id=common_pb2.NamedEntityIdentifier(project=project or self.project, domain=domain or self.domain),
                limit=PAGE if limit is None else min(PAGE, limit),
                token=token,
                filters="+".join(filter(None, terms)),
                sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
            )
            page = await self.call(f"{ADMIN}ListExecutions", request, execution_pb2.ExecutionList)
            return [execution_of(one) for one in page.executions], page.token

        async for execution in pages(fetch, limit):
            yield execution

    async def nodes(
        self, execution: ExecutionRef, *, parent: str = "", filters: str = "", limit: int | None = None
    ) -> AsyncIterator[Node]:
        """Nodes of an execution, or those inside the node `parent`, in the order in which the engine met them."""
        from flyteidl.admin import common_pb2, node_execution_pb2

        identifier = self.execution_id(execution).flyte()

        async def fetch(token: str) -> tuple[list[Node], str]:
            request = node_execution_pb2.NodeExecutionListRequest(
                workflow_execution_id=identifier,
                unique_parent_id=parent,
                limit=PAGE,
                token=token,
                filters=filters,
                sort_by=common_pb2.Sort(key="id", direction=common_pb2.Sort.ASCENDING),
            )
            page = await self.call(f"{ADMIN}ListNodeExecutions", request, node_execution_pb2.NodeExecutionList)
            return [node_of(one) for one in page.node_executions], page.token

        async for node in pages(fetch, limit):
            yield node

    async def all_nodes(self, execution: ExecutionRef) -> AsyncIterator[tuple[int, Node]]:
        """All nodes at any depth, those inside a node right after it, each with its depth."""
        identifier = self.execution_id(execution)
        waiting = [(0, node) async for node in self.nodes(identifier)][::-1]
        while waiting:
            depth, node = waiting.pop()
            yield depth, node
            if node.is_parent:
                inner = [(depth + 1, one) async for one in self.nodes(identifier, parent=node.id)]
                waiting += inner[::-1]

    async def node(self, execution: ExecutionRef, node: str) -> Node:
        """How a node stands, by its unique id. Raises NotFoundError."""
        from flyteidl.admin import node_execution_pb2

        request = node_execution_pb2.NodeExecutionGetRequest(id=self._node_id(execution, node))
        return node_of(await self.call(f"{ADMIN}GetNodeExecution", request, node_execution_pb2.NodeExecution))

    async def attempts(self, execution: ExecutionRef, node: str, *, limit: int | None = None) -> AsyncIterator[Attempt]:
        """Attempts of a node's task, the first one first, with their logs; of maps with those of each element."""
        from flyteidl.admin import common_pb2, task_execution_pb2

        identifier = self._node_id(execution, node)

        async def fetch(token: str) -> tuple[list[Attempt], str]:
            request = task_execution_pb2.TaskExecutionListRequest(
                node_execution_id=identifier,
                limit=PAGE,
                token=token,
                sort_by=common_pb2.Sort(key="retry_attempt", direction=common_pb2.Sort.ASCENDING),
            )
            page = await self.call(f"{ADMIN}ListTaskExecutions", request, task_execution_pb2.TaskExecutionList)
            return [attempt_of(one) for one in page.task_executions], page.token

        async for attempt in pages(fetch, limit):
            yield attempt

    async def attempt(self, attempt: Attempt) -> Attempt:
        """An attempt as it is now, with all its elements as far as one answer holds them."""
        from flyteidl.admin import task_execution_pb2

        request = task_execution_pb2.TaskExecutionGetRequest(id=attempt.message.id)
        return attempt_of(await self.call(f"{ADMIN}GetTaskExecution", request, task_execution_pb2.TaskExecution))

    async def outputs(self, execution: ExecutionRef) -> dict[str, Any]:
        """Outputs as plain values; files, folders and tables as handles.

        Raises ExecutionFailedError for an execution that ended without success, ExecutionRunningError for one that has
        not ended.
        """
        literals = (await self.execution_data(execution))[1]
        if not literals.literals:
            await self._require_success(execution)
        return await self._plain(literals)

    async def inputs(self, execution: ExecutionRef) -> dict[str, Any]:
        """Inputs as plain values, defaults included."""
        return await self._plain((await self.execution_data(execution))[0])

    async def node_outputs(self, execution: ExecutionRef, node: str) -> dict[str, Any]:
        """Outputs of a node as plain values; empty while there are none."""
        return await self._plain((await self.node_data(execution, node))[1])

    async def node_inputs(self, execution: ExecutionRef, node: str) -> dict[str, Any]:
        """Inputs of a node as plain values; empty while there are none."""
        return await self._plain((await self.node_data(execution, node))[0])

    def shape(self, kind: type[T], value: Any) -> T:
        """A plain value as a class of the caller's: a dataclass out of a dict, with Enums, instants and files in it.

        Raises ConversionError with the way to what does not fit.
        """
        from wingbeat.literals.shape import shape

        return shape(kind, value, reader=self.transfers)

    async def execution_data(
        self, execution: ExecutionRef
    ) -> "tuple[literals_pb2.LiteralMap, literals_pb2.LiteralMap]":
        """Inputs and outputs as FlyteIDL's literals, fetched if they are too large for an answer."""
        from flyteidl.admin import execution_pb2

        request = execution_pb2.WorkflowExecutionGetDataRequest(id=self.execution_id(execution).flyte())
        answer = await self.call(f"{ADMIN}GetExecutionData", request, execution_pb2.WorkflowExecutionGetDataResponse)
        return await self._literals(answer.full_inputs, answer.inputs), await self._literals(
            answer.full_outputs, answer.outputs
        )

    async def node_data(
        self, execution: ExecutionRef, node: str
    ) -> "tuple[literals_pb2.LiteralMap, literals_pb2.LiteralMap]":
        """Inputs and outputs of a node as FlyteIDL's literals."""
        from flyteidl.admin import node_execution_pb2

        request = node_execution_pb2.NodeExecutionGetDataRequest(id=self._node_id(execution, node))
        answer = await self.call(
            f"{ADMIN}GetNodeExecutionData", request, node_execution_pb2.NodeExecutionGetDataResponse
        )
        return await self._literals(answer.full_inputs, answer.inputs), await self._literals(
            answer.full_outputs, answer.outputs
        )

    async def wait(self, execution: ExecutionRef, *, timeout_s: float | None = None) -> Execution:
        """How an execution stands when it has ended, well or not. Raises WaitTimeoutError, NotFoundError."""
        identifier = self.execution_id(execution)
        async for ended in self.wait_many([identifier], timeout_s=timeout_s):
            return await self.execution(ended)
        raise WaitTimeoutError(f"{identifier} has not ended in {timeout_s:g} seconds")

    async def wait_many(
        self, executions: Iterable[ExecutionRef], *, timeout_s: float | None = None
    ) -> AsyncIterator[ExecutionId]:
        """Executions as they end, whichever is first; each once. Stops when all have, or after `timeout_s`."""
        left = dict.fromkeys(self.execution_id(one) for one in executions)
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        served = self._waits is not False
        while left and served:
            try:
                async for ended in self._wait_some(list(left)[:WAIT_MAX], deadline):
                    del left[ended]
                    yield ended
            except UnimplementedError:
                served = self._waits = False
            else:
                if deadline is not None and loop.time() >= deadline:
                    return
        async for ended in self._poll(left, deadline):
            yield ended

    async def _wait_some(self, waited: list[ExecutionId], deadline: float | None) -> AsyncIterator[ExecutionId]:
        """Ends as the server tells them; asks again when the stream breaks. Returns when all have ended or at the
        deadline. Raises UnimplementedError for a server that has no such call."""
        from wingbeatidl.watch.v1 import watch_pb2

        loop = asyncio.get_running_loop()
        left = dict.fromkeys(waited)
        again = Resumption(self._connection.patience.stream_s)
        self._use()
        while left:
            request = watch_pb2.WaitExecutionsRequest(executions=[one.wingbeat() for one in left])
            rest_s = _ASK_S if deadline is None else min(max(deadline - loop.time(), 0.001), _ASK_S)
            request.timeout.FromTimedelta(timedelta(seconds=rest_s))
            answer, silence_s_max, began = watch_pb2.WaitExecutionsResponse, rest_s + _GRACE_S, loop.time()
            try:
                async for message in self._connection.stream(_WAIT, request, answer, silence_s_max=silence_s_max):
                    again.lived()
                    for end in message.ends:
                        identifier = ExecutionId.of(end.execution)
                        if identifier in left:  # what has ended comes again in the call after a broken one
                            del left[identifier]
                            yield identifier
                if left and loop.time() - began < rest_s * 0.9:
                    raise UnavailableError("UNAVAILABLE", "the server ended the stream too early")
            except ServerError as error:
                await again.pause(error)
            if deadline is not None and loop.time() >= deadline:
                return

    async def _poll(self, left: dict[ExecutionId, None], deadline: float | None) -> AsyncIterator[ExecutionId]:
        """Look again until all have ended, less often the longer it takes."""
        loop = asyncio.get_running_loop()
        pause_s = _POLL_S
        while left:
            for identifier in list(left):
                if (await self.execution(identifier)).ended:
                    del left[identifier]
                    yield identifier
            if deadline is not None and loop.time() + pause_s > deadline:
                return
            if left:
                await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_S_MAX)

    async def why(self, execution: ExecutionRef, node: str = "", *, limit: int = 20) -> "why_pb2.WhyResponse":
        """Why an execution, or a node of it, is not running: sentences, and the same as fields."""
        from wingbeatidl.query.v1 import why_pb2

        request = why_pb2.WhyRequest(execution=self.execution_id(execution).wingbeat(), node=node, limit=limit)
        return await self.call("/wingbeatidl.query.v1.QueryService/Why", request, why_pb2.WhyResponse)

    async def history(self, execution: ExecutionRef, at: "datetime") -> "query_pb2.GetExecutionAtResponse":
        """How an execution and its nodes stood at an instant."""
        from wingbeatidl.query.v1 import query_pb2

        request = query_pb2.GetExecutionAtRequest(
            execution=self.execution_id(execution).wingbeat(), page_size=_HISTORY_PAGE
        )
        request.at.FromDatetime(at)
        method = "/wingbeatidl.query.v1.QueryService/GetExecutionAt"
        answer = page = await self.call(method, request, query_pb2.GetExecutionAtResponse)
        while page.next_page_token:
            request.page_token = page.next_page_token
            page = await self.call(method, request, query_pb2.GetExecutionAtResponse)
            answer.nodes.extend(page.nodes)
        return answer

    def _node_id(self, execution: ExecutionRef, node: str) -> "identifier_pb2.NodeExecutionIdentifier":
        from flyteidl.core import identifier_pb2

        return identifier_pb2.NodeExecutionIdentifier(execution_id=self.execution_id(execution).flyte(), node_id=node)

    async def _require_success(self, execution: ExecutionRef) -> None:
        found = await self.execution(execution)
        if found.succeeded:
            return
        if not found.ended:
            raise ExecutionRunningError(f"{found.id} is {found.phase.name} and has no outputs yet", found)
        reason = f": {found.failure.message}" if found.failure and found.failure.message else ""
        raise ExecutionFailedError(f"{found.id} ended {found.phase.name}{reason}", found)

    async def _literals(
        self, inline: "literals_pb2.LiteralMap", link: "common_pb2.UrlBlob"
    ) -> "literals_pb2.LiteralMap":
        from flyteidl.core import literals_pb2

        if not inline.literals and link.url:
            inline = literals_pb2.LiteralMap.FromString(await self.transfers.read_url(link.url))
        await self.transfers.fetch_offloaded(inline)
        return inline

    async def _plain(self, literals: "literals_pb2.LiteralMap") -> dict[str, Any]:
        from wingbeat.literals.decode import decode_map

        return decode_map(literals, self.transfers)
