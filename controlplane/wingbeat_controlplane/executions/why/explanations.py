"""Why: one question about one execution, answered by its engine or from its rows.

The engine that holds the execution's shard is asked first: it alone knows queues, slots and places in line. When there
is none, or it does not drive the execution, or says nothing within the timeout, the rows are read, and the answer says
so. An execution that has ended is told from its rows at once. What is only in the database (how attempts and nodes
ended, how children do) is added here, and then the sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from flyteidl.core import execution_pb2

from wingbeat_controlplane.errors import ApiError, missing, not_found
from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.failures import stored_error
from wingbeat_controlplane.executions.identifiers import check_text
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.why.facts import add_facts
from wingbeat_controlplane.executions.why.from_rows import FromRows, RowsUnreadableError
from wingbeat_controlplane.executions.why.holds import further_holds, overlap
from wingbeat_controlplane.executions.why.owners import EngineSilentError, Owners
from wingbeat_controlplane.executions.why.sentences import write_sentences
from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.phases import NODE_FINAL
from wingbeat_propeller.core.plan import NodeKind, Plan
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.engine.v1 import engine_pb2
from wingbeatidl.query.v1 import identity_pb2, why_pb2

NODES = 100
NODES_MAX = 1_000
"""Nodes in an answer: by default, and at most."""
CHILDREN_MAX = 4
DEPTH_MAX = 3
"""Executions of nodes that are asked on behalf of one answer, and how many levels deep."""
_CHILD_NODES = 10

_SQL = load_queries("wingbeat_controlplane.executions.why", "why.sql")
_Condition = why_pb2.Engine


@dataclass(frozen=True, slots=True)
class _Question:
    execution: identity_pb2.ExecutionIdentifier
    node: str
    limit: int


class Explanations:
    """Answers the rpc Why."""

    def __init__(
        self, pool: asyncpg.Pool, shares: TenantShareStore, owners: Owners, rows: FromRows, elements: ElementReads
    ) -> None:
        self._pool = pool
        self._elements = elements
        self._shares = shares
        self._owners = owners
        self._rows = rows

    async def why(self, request: why_pb2.WhyRequest) -> why_pb2.WhyResponse:
        """One answer. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        return await self._answer(_checked(request), DEPTH_MAX)

    async def _answer(self, question: _Question, depth: int) -> why_pb2.WhyResponse:
        execution = question.execution
        head = await self._pool.fetchrow(_SQL["head"], execution.project, execution.domain, execution.name)
        if head is None:
            raise not_found("execution", execution)
        if head["ended_at"] is not None:
            answer = await self._ended(question, head)
        elif head["waits_for_turn"]:
            answer = why_pb2.WhyResponse(source=why_pb2.SOURCE_ROWS)
            answer.reasons.add(overlap=await overlap(self._pool, head["id"]))
            await self._not_begun(question, head, answer)
        else:
            answer = await self._of_engine(question, head)
        answer.MergeFrom(why_pb2.WhyResponse(phase=identity_pb2.ExecutionPhase.Name(head["phase"])))
        answer.phase_since.CopyFrom(timestamp(_phase_since(head)))
        if not answer.HasField("as_of"):
            answer.as_of.CopyFrom(timestamp(head["read_at"]))
        if head["ended_at"] is None:
            answer.reasons.extend(further_holds(head))
        await add_facts(self._pool, self._shares, head["id"], answer)
        if depth > 1:
            await self._ask_children(answer, depth - 1)
        write_sentences(answer, execution)
        return answer

    async def _ask_children(self, answer: why_pb2.WhyResponse, depth: int) -> None:
        """Let executions of nodes say themselves why they do not go on."""
        children = [
            reason.child_execution
            for node in answer.nodes
            for reason in node.reasons
            if reason.HasField("child_execution") and reason.child_execution.exists
        ]
        for child in children[:CHILDREN_MAX]:
            try:
                child.why = (await self._answer(_Question(child.execution, "", _CHILD_NODES), depth)).sentence
            except ApiError:
                continue  # it has gone meanwhile

    # ---- while it goes on ----

    async def _of_engine(self, question: _Question, head: Row) -> why_pb2.WhyResponse:
        note = ""
        condition = _condition_of_owner(head)
        if condition is None:
            request = engine_pb2.ExplainRequest(
                execution=head["id"], shard=head["shard"], node=question.node, limit=question.limit
            )
            try:
                response = await self._owners.explain(head["address"], request)
            except EngineSilentError as error:
                note = str(error)
                condition = _Condition(condition=_Condition.CONDITION_SILENT, name=head["engine"])
            else:
                if response.drives and response.knows_node:
                    return response.answer
                if response.drives:
                    return await self._node_by_row(question, head, response.answer)
                condition = response.answer.reasons[0].engine
        return await self._of_rows(question, head, condition, note)

    async def _of_rows(
        self, question: _Question, head: Row, condition: why_pb2.Engine, note: str
    ) -> why_pb2.WhyResponse:
        answer = why_pb2.WhyResponse(source=why_pb2.SOURCE_ROWS, source_note=note, engine=condition.name)
        if head["started_at"] is None:
            condition.ahead = await self._pool.fetchval(_SQL["new_before"], head["id"], head["shard"])
        answer.reasons.add(engine=condition)
        if head["started_at"] is None:
            await self._not_begun(question, head, answer)
            return answer
        try:
            found = await self._rows.explain(head["id"], head["shard"], question.node, question.limit, condition)
        except RowsUnreadableError as error:
            answer.source_note = f"{note} {error}".strip()
            return answer
        if found is None:
            return await self._node_by_row(question, head, answer)
        answer.MergeFrom(found)
        return answer

    async def _not_begun(self, question: _Question, head: Row, answer: why_pb2.WhyResponse) -> None:
        """A node waits for what the execution waits for."""
        if not question.node:
            return
        plan = await self._plan(head)
        if plan is None or not (found := _in_plan(plan, question.node)):
            raise _no_node(question)
        for spec_id, name, kind in found:
            node = answer.nodes.add(node_id=spec_id, spec_node_id=spec_id, name=name, kind=kind)
            node.standing = why_pb2.STANDING_NOT_REACHED
            node.reasons.extend(answer.reasons)
        answer.asked = answer.node_count = len(found)

    async def _node_by_row(self, question: _Question, head: Row, answer: why_pb2.WhyResponse) -> why_pb2.WhyResponse:
        """A node that no state knows: it is inside one that has ended, if it is there at all."""
        rows = await self._rows_meant(question, head)
        if not rows:
            raise _no_node(question)
        _add_rows(answer, rows)
        return answer

    # ---- after its end ----

    async def _ended(self, question: _Question, head: Row) -> why_pb2.WhyResponse:
        answer = why_pb2.WhyResponse(source=why_pb2.SOURCE_ROWS)
        answer.reasons.add(ended=_end(head))
        if not question.node:
            return answer
        rows = await self._rows_meant(question, head)
        if rows and rows[0]["node_id"] == question.node:
            _add_rows(answer, rows)
            return answer
        plan = await self._plan(head)
        unmet = [] if plan is None else _in_plan(plan, question.node)
        if rows and question.node not in (spec_id for spec_id, _, _ in unmet):
            _add_rows(answer, rows)
            return answer
        if not unmet:
            raise _no_node(question)
        for spec_id, name, kind in unmet:
            node = answer.nodes.add(node_id=spec_id, spec_node_id=spec_id, name=name, kind=kind)
            node.standing = why_pb2.STANDING_RULED_OUT
            node.reasons.add(ruled_out=why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_EXECUTION_ENDED))
        answer.asked = answer.node_count = len(unmet)
        return answer

    async def _rows_meant(self, question: _Question, head: Row) -> Sequence[Row]:
        """Rows of the nodes meant: the one with that unique id, else all with that id in a workflow, or that name; else
        the element of an array."""
        rows = await self._pool.fetch(_SQL["nodes_meant"], head["id"], question.node, question.limit)
        if rows:
            return [row for row in rows if row["node_id"] == question.node] or rows
        element = await self._elements.find(head["id"], question.node)
        return [] if element is None else [element]

    async def _plan(self, head: Row) -> Plan | None:
        try:
            return await self._rows.plan(head["workflow_id"])
        except RowsUnreadableError:
            return None


def _condition_of_owner(head: Row) -> why_pb2.Engine | None:
    """Why nobody can be asked; None if somebody can."""
    if not head["any_alive"]:
        return _Condition(condition=_Condition.CONDITION_NONE_ALIVE)
    if not head["has_owner"] or not head["owner_alive"]:
        return _Condition(condition=_Condition.CONDITION_SHARD_MOVING, name=head["engine"] or "")
    if not head["address"]:
        return _Condition(condition=_Condition.CONDITION_SILENT, name=head["engine"])
    return None


def _phase_since(head: Row) -> datetime:
    if head["ended_at"] is not None:
        return head["ended_at"]
    if head["abort_requested_at"] is not None:
        return head["abort_requested_at"]
    return head["started_at"] or head["created_at"]


def _end(row: Row) -> why_pb2.Ended:
    error: execution_pb2.ExecutionError | None = stored_error(row["error"])
    return why_pb2.Ended(at=timestamp(row["ended_at"]), error=error.message if error is not None else "")


def _add_rows(answer: why_pb2.WhyResponse, rows: Sequence[Row]) -> None:
    answer.nodes.extend(_row_answer(row) for row in rows)
    answer.asked = answer.node_count = len(rows)


def _row_answer(row: Row) -> why_pb2.NodeAnswer:
    node = why_pb2.NodeAnswer(
        node_id=row["node_id"],
        spec_node_id=row["spec_node_id"],
        name=row["node_name"],
        parent_node_id=row["parent_id"] or "",
        kind=NodeKind(row["kind"]).name.lower(),
        phase=identity_pb2.NodePhase.Name(row["phase"]),
        attempt=row["attempt"],
        since=timestamp(row["updated_at"]),
    )
    if row["phase"] in NODE_FINAL and row["ended_at"] is not None:
        node.standing = why_pb2.STANDING_ENDED
        node.reasons.add(ended=_end(row))
    else:
        node.standing = why_pb2.STANDING_RULED_OUT
        node.reasons.add(ruled_out=why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_EXECUTION_ENDED))
    return node


def _in_plan(plan: Plan, text: str) -> list[tuple[str, str, str]]:
    """Id, name and kind of the nodes of a workflow, and of those inside it, that have this id or name."""
    found = [
        (plan.ids[node], plan.names[node], plan.kinds[node].name.lower())
        for node in range(plan.size)
        if text in (plan.ids[node], plan.names[node])
    ]
    for target in plan.targets:
        if not found and isinstance(target, Plan):
            found = _in_plan(target, text)
    return found


def _no_node(question: _Question) -> Exception:
    execution = question.execution
    return not_found("node", f"{question.node} of {execution.project}/{execution.domain}/{execution.name}")


def _checked(request: why_pb2.WhyRequest) -> _Question:
    if not request.HasField("execution"):
        raise missing("execution")
    for field in ("project", "domain", "name"):
        check_text(f"execution.{field}", getattr(request.execution, field))
    if request.node:
        check_text("node", request.node)
    return _Question(request.execution, request.node, min(request.limit if request.limit > 0 else NODES, NODES_MAX))
