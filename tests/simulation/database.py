"""The simulated Postgres: tables in memory, and the effect of each statement of `postgres/*.sql` on them.

A statement takes effect at one instant, as a whole or not at all. Which columns a commit writes and what wins over what
is read out of the SQL itself (sql_text.py); conditions of reads and the statements of leases are written here once
more, and tests/conformance holds them to what the real Postgres does. Times are seconds since the epoch by `clock`.

Observers see each commit before it takes effect, and may object by raising.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from flyteidl.core.execution_pb2 import TaskExecution

from tests.simulation.slots import SimulatedSlots
from tests.simulation.sql_text import (
    FENCED,
    Row,
    UnknownSqlError,
    Write,
    blocks,
    commit_writes,
    select_list,
    table_defaults,
)
from wingbeat_propeller.core.ids import SHARDS
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.ports.signals import SignalKey
from wingbeat_propeller.ports.slots import SlotAsk

Change = tuple[str, Row | None, Row]
"""Table, the row as it was stored, and as it shall be."""
Observer = Callable[[int, Sequence[Change]], None]
"""Called with the term that writes and what it changes."""


@dataclass(slots=True)
class Member:
    """A row of `propellers`."""

    name: str
    lease_expires_at: float


@dataclass(slots=True)
class SimulatedDatabase:
    """See the module. `notified` hears of each NOTIFY: channel and payload."""

    clock: Callable[[], float]
    notified: Callable[[str, str], None] = lambda _channel, _payload: None
    aborted: Callable[[int], None] = lambda _execution: None
    """Hears of each execution whose abort is asked for."""
    observers: list[Observer] = field(default_factory=list[Observer])
    members: dict[int, Member] = field(default_factory=dict[int, Member])
    shards: list[int | None] = field(default_factory=lambda: [None] * SHARDS)
    lanes: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    workflows: dict[int, bytes] = field(default_factory=dict[int, bytes])
    tables: dict[str, dict[Any, Row]] = field(default_factory=dict[str, dict[Any, Row]])
    nodes_of: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    """Rows of node_executions by execution, in the order of their insertion."""
    transitions: list[Row] = field(default_factory=list[Row])
    signals: dict[SignalKey, bytes | None] = field(default_factory=dict[SignalKey, bytes | None])
    """Values, None while there is none."""
    slots: SimulatedSlots = field(default_factory=SimulatedSlots)
    terms: int = 0

    def __post_init__(self) -> None:
        for table in ("executions", *_KEYS):
            self.tables[table] = {}

    @property
    def executions(self) -> dict[int, Row]:
        """Rows of executions by id."""
        return self.tables["executions"]

    def run(self, sql: str, args: Sequence[Any]) -> list[Row]:
        """One statement; returns its rows. Raises asyncpg's errors for values that Postgres refuses."""
        block = blocks().get(sql)
        if block is None:
            if sql == "SELECT 1":
                return [{"?column?": 1}]
            if FENCED in sql:
                return self.commit(sql, *args)
            raise UnknownSqlError(f"a statement that is in no file of wingbeat_propeller.postgres: {sql}")
        statement = _STATEMENTS.get(block)
        if statement is None:
            raise UnknownSqlError(f"block {block[1]} of {block[0]}: write its effect into tests/simulation/database.py")
        return statement(self, sql, *args)

    def insert_workflow(self, closure: bytes) -> int:
        """Register a compiled workflow; returns its row id."""
        self.workflows[len(self.workflows) + 1] = closure
        return len(self.workflows)

    def insert_execution(self, **columns: object) -> int:
        """What the API inserts to launch an execution, QUEUED if it waits for its turn; returns its row id."""
        number = len(self.executions) + 1
        now = self.clock()
        row: Row = {**table_defaults("executions"), "id": number, "created_at": now, "updated_at": now, **columns}
        self.executions[number] = row
        self.nodes_of[number] = []
        if row["waiting"]:
            row["phase"] = ExecutionPhase.QUEUED
            self.notified("wingbeat_queue", "")
        else:
            self.notified("wingbeat_new", f"{row['shard']}:{number}")
        return number

    def alive(self, plan: int) -> int:
        """How many executions of a launch plan are under way, or have been let go and are to begin."""
        return sum(row["ended_at"] is None and not row["waiting"] for row in self._of_plan(plan))

    def line(self, plan: int) -> list[Row]:
        """Executions of a launch plan that wait for their turn, first come first."""
        return [row for row in self._of_plan(plan) if row["waiting"] and row["phase"] == ExecutionPhase.QUEUED]

    def replace_oldest(self, key: int, alive_max: int) -> None:
        """What the API does for a launch that replaces others: request the abort of all but the newest."""
        others = [
            row
            for row in self._of_plan(self.executions[key]["launch_plan_id"])
            if row["ended_at"] is None and row["abort_requested_at"] is None
        ]
        for row in others[:-alive_max]:
            row["replaced_by"] = key
            self.request_abort(row["id"], "replaced")

    def _of_plan(self, plan: int) -> list[Row]:
        return [row for row in self.executions.values() if row["launch_plan_id"] == plan]

    def request_abort(self, execution: int, cause: str) -> bool:
        """What TerminateExecution does; returns whether it was not too late."""
        row = self.executions[execution]
        if row["ended_at"] is not None:
            return False
        row |= {"phase": ExecutionPhase.ABORTING, "abort_requested_at": self.clock(), "abort_cause": cause}
        self.aborted(execution)
        self.notified("wingbeat_abort", "")
        return True

    def set_signal(self, key: SignalKey, value: bytes) -> None:
        """What SetSignal does, after GetOrCreateSignal."""
        self.signals[key] = value
        self.notified("wingbeat_signal", f"{key.project}:{key.domain}:{key.execution}")

    def end_term(self, term: int) -> None:
        """Delete a member: its lanes go with it and its shards become free."""
        del self.members[term]
        for lane in [lane for lane in self.lanes if lane[0] == term]:
            del self.lanes[lane]
        self.shards = [None if owner == term else owner for owner in self.shards]
        self.slots.end_term(term)

    # ---- journal.sql ----

    def open_lane(self, _sql: str, term: int, lane: int) -> list[Row]:
        if term not in self.members:
            return []
        return [{"batch": self.lanes.setdefault((term, lane), 0)}]

    def lane_batch(self, _sql: str, term: int, lane: int) -> list[Row]:
        batch = self.lanes.get((term, lane))
        return [] if batch is None else [{"batch": batch}]

    def commit(self, sql: str, term: int, lane: int, batch: int, *parameters: Sequence[Sequence[object]]) -> list[Row]:
        """All of a batch, or nothing when the term has ended or the batch is committed already."""
        stored = self.lanes.get((term, lane))
        is_open = stored is not None and (stored < batch or _REPEATED not in sql)
        changes: list[Change] = []
        for write in commit_writes(sql):
            if is_open or not write.is_fenced:
                changes += self._changes(write, parameters[write.parameter - 4])
        for observer in self.observers:
            observer(term, changes)
        if is_open:
            self.lanes[term, lane] = batch
        for table, _, row in changes:
            self._put(table, row)
        for table, _, row in changes:
            if table == "executions" and row["ended_at"] is not None and row["parent_execution_id"] is not None:
                self.notified("wingbeat_child", str(row["id"]))
        if is_open:
            self._free_slots(changes, parameters[4])
        return [{"exists": is_open}]

    def _free_slots(self, changes: Sequence[Change], freed: Sequence[Sequence[Any]]) -> None:
        ended = [row["id"] for table, _, row in changes if table == "executions" and row["ended_at"] is not None]
        if self.slots.free([(execution, name) for execution, name in freed], ended):
            self.notified("wingbeat_slots", "")

    def _changes(self, write: Write, records: Sequence[Sequence[object]]) -> list[Change]:
        changes: list[Change] = []
        rows = self.tables.setdefault(write.table, {}) if write.key else {}
        seen: set[object] = set()
        for record in records:
            incoming: Row = dict(zip(write.fields, record, strict=True))
            _refuse_nul(record)
            row = incoming if write.insert is None else {c: value(incoming, {}) for c, value in write.insert.items()}
            if not write.key:
                changes.append((write.table, None, row))
                continue
            key = _key(row, write.key)
            if key in seen:
                raise asyncpg.CardinalityViolationError("ON CONFLICT DO UPDATE command cannot affect row a second time")
            seen.add(key)
            stored = rows.get(key)
            if stored is not None:
                changes.append(
                    (write.table, stored, stored | {c: value(row, stored) for c, value in write.update.items()})
                )
            elif write.insert is not None:
                changes.append((write.table, None, row))
        return changes

    def _put(self, table: str, row: Row) -> None:
        if table == "transitions":
            self.transitions.append(row)
            return
        key = row["id"] if table == "executions" else _key(row, _KEYS[table])
        stored = self.tables[table].get(key)
        if stored is not None:
            stored.update(row)
            return
        self.tables[table][key] = row
        if table == "node_executions":
            self.nodes_of.setdefault(row["execution_id"], []).append(row)

    # ---- leases.sql ----

    def join(self, _sql: str, name: str, lease_s: float) -> list[Row]:
        self.terms += 1
        self.members[self.terms] = Member(name, self.clock() + lease_s)
        self.lanes[self.terms, -2] = 0
        self.notified("wingbeat_shards", "")
        return [{"term": self.terms}]

    def renew(self, _sql: str, term: int, lease_s: float) -> list[Row]:
        now = self.clock()
        members = [t for t, member in self.members.items() if member.lease_expires_at >= now or t == term]
        expired = any(member.lease_expires_at < now for t, member in self.members.items() if t != term)
        mine = self.members.get(term)
        if mine is not None:
            mine.lease_expires_at = now + lease_s
        return [
            {
                "alive": mine is not None,
                "members": members,
                "any_expired": expired,
                "owned": [shard for shard, owner in enumerate(self.shards) if owner == term],
                "free": [shard for shard, owner in enumerate(self.shards) if owner is None],
            }
        ]

    def end_expired(self, _sql: str, term: int) -> list[Row]:
        now = self.clock()
        ended = [(t, m.name) for t, m in self.members.items() if m.lease_expires_at < now and t != term]
        for other, _ in ended:
            self.end_term(other)
        if ended:
            self.notified("wingbeat_shards", "")
        return [{"term": t, "name": name} for t, name in ended]

    def take(self, _sql: str, term: int, shards: Sequence[int]) -> list[Row]:
        taken = [shard for shard in shards if self.shards[shard] is None]
        if taken and term not in self.members:
            raise asyncpg.ForeignKeyViolationError(f"term {term} is not in propellers")
        for shard in taken:
            self.shards[shard] = term
        return [{"shard": shard} for shard in taken]

    def release(self, _sql: str, term: int, shards: Sequence[int], number: int) -> list[Row]:
        if self.lanes.get((term, -2), number) < number:
            self.lanes[term, -2] = number
            for shard in shards:
                if self.shards[shard] == term:
                    self.shards[shard] = None
        self.notified("wingbeat_shards", "")
        return [{"count": len(shards)}]

    def leave(self, _sql: str, term: int) -> list[Row]:
        if term not in self.members:
            return []
        self.end_term(term)
        self.notified("wingbeat_shards", "")
        return [{"term": term}]

    # ---- slots.sql ----

    def shares(self, _sql: str) -> list[Row]:
        rows: list[Row] = [
            {"project": project, "domain": domain, "weight": share.weight, "running_max": share.running_max}
            for (project, domain), share in self.slots.shares.items()
        ]
        return [{"revision": self.slots.revision} | row for row in rows or [{"project": None}]]

    def open_slots(self, _sql: str, term: int) -> list[Row]:
        if term not in self.members:
            return []
        self.slots.seen.setdefault(term, 0)
        return [{"batch": self.lanes.setdefault((term, -1), 0)}]

    def admit_attempts(self, _sql: str, term: int, number: int, seen: int, asks: Sequence[SlotAsk]) -> list[Row]:
        stored = self.lanes.get((term, -1))
        if stored is None or stored >= number:
            return [{"admit_attempts": None}]
        self.lanes[term, -1] = number
        return [{"admit_attempts": self.slots.admit(term, seen, asks, self.clock())}]

    def of_executions(self, _sql: str, executions: Sequence[int]) -> list[Row]:
        return [{"name": name} for execution, name in self.slots.taken if execution in executions]

    def remove_orphans(self, _sql: str) -> list[Row]:
        orphans = [slot for slot in self.slots.taken if self.executions[slot[0]]["ended_at"] is not None]
        for slot in orphans:
            del self.slots.taken[slot]
        return [{"count": len(orphans)}]

    # ---- executions.sql ----

    def new_executions(
        self,
        _sql: str,
        shards: Sequence[int],
        known: Sequence[int],
        limit: int,
        project: str,
        domain: str,
        free: int,
        tenant_min: int,
        *columns: Any,
    ) -> list[Row]:
        *live_columns, tenants_max, each, awaited_max = columns
        live = {(p, d): count for p, d, count in zip(*live_columns, strict=True)}
        begin = [row for row in self.executions.values() if self._may_begin(row)]
        waiting = [row for row in begin if not row["awaited"]]
        tenants = sorted({tenant for row in waiting if (tenant := (row["project"], row["domain"])) > (project, domain)})
        looked_at = tenants[:tenants_max]
        found: list[tuple[int, Row]] = []
        any_left = False
        for tenant in looked_at:
            if free <= 0 and live.get(tenant, 0) >= tenant_min:
                any_left = True
                continue
            own = [row for row in waiting if (row["project"], row["domain"]) == tenant and row["id"] not in known]
            of_shards = [[row for row in own if row["shard"] == shard and not self._is_late(row)] for shard in shards]
            any_left |= any(len(rows) >= each for rows in of_shards)
            first = sorted((row for rows in of_shards for row in rows[:each]), key=lambda row: row["id"])
            found += [(live.get(tenant, 0) + number, row) for number, row in enumerate(first, start=1)]
        found.sort(key=lambda entry: (entry[0], entry[1]["id"]))
        chosen = [row for place, (level, row) in enumerate(found[:limit]) if place < free or level <= tenant_min]
        ending = [row for row in self._in(shards) if self._can_only_end(row) and row["id"] not in known][:limit]
        awaited = [row for row in begin if row["awaited"] and row["shard"] in shards]
        some = [row for row in awaited if row["id"] not in known and not self._is_late(row)][: min(limit, awaited_max)]
        any_left |= len(some) >= min(limit, awaited_max) if awaited_max > 0 else bool(awaited)
        last = looked_at[-1] if len(looked_at) == tenants_max else (None, None)
        look = {"last_project": last[0], "last_domain": last[1], "any_left": any_left or len(found) > len(chosen)}
        return [look | row for row in _selected(_RECORD, [*ending, *some, *chosen])] or [look | {"id": None}]

    def told_executions(self, _sql: str, keys: Sequence[int], shards: Sequence[int]) -> list[Row]:
        rows = [row for key in sorted(keys) if (row := self.executions.get(key)) and row["shard"] in shards]
        return _selected(_RECORD, [row for row in rows if row["phase"] == 0 and not self._is_late(row)])

    def _may_begin(self, row: Row) -> bool:
        return row["phase"] == 0 or (row["phase"] == ExecutionPhase.QUEUED and not row["waiting"])

    def _is_late(self, row: Row) -> bool:
        return row["begin_by"] is not None and row["begin_by"] <= self.clock()

    def _can_only_end(self, row: Row) -> bool:
        aborted = row["abort_requested_at"] is not None and row["ended_at"] is None and row["phase"] == 9
        late = row["phase"] in (0, ExecutionPhase.QUEUED) and self._is_late(row)
        return late or (aborted and row["started_at"] is None)

    def live_executions(self, sql: str, shards: Sequence[int], after: int, limit: int) -> list[Row]:
        live = [
            row
            for row in self._in(shards)
            if row["ended_at"] is None and row["started_at"] is not None and row["id"] > after
        ]
        return _selected(_RECORD, live[:limit])

    def nodes(self, sql: str, executions: Sequence[int]) -> list[Row]:
        rows: list[Row] = []
        for execution in sorted(executions):
            rows += sorted(self.nodes_of.get(execution, ()), key=lambda row: row["seq"])
        return _selected(select_list(sql), rows)

    def elements(self, sql: str, executions: Sequence[int]) -> list[Row]:
        last: dict[tuple[object, ...], Row] = {}
        for (execution, node_id, element, _), row in sorted(self.tables["array_elements"].items()):
            node = self.tables["node_executions"][execution, node_id]
            if execution in executions and node["ended_at"] is None:
                last[execution, node_id, element] = row
        return _selected(select_list(sql), list(last.values()))

    def abort_requests(self, _sql: str, shards: Sequence[int]) -> list[Row]:
        return [
            {"id": row["id"], "cause": row["abort_cause"] or ""}
            for row in self._in(shards)
            if row["abort_requested_at"] is not None and row["ended_at"] is None
        ]

    def unwanted(self, _sql: str, *columns: Sequence[Any]) -> list[Row]:
        by_name = {(row["project"], row["domain"], row["name"]): row for row in self.executions.values()}
        found: list[Row] = []
        for name, project, domain, execution, node_id, attempt, element in zip(*columns, strict=True):
            row = by_name.get((project, domain, execution))
            node = row and self.tables["node_executions"].get((row["id"], node_id))
            if row is None or row["ended_at"] is not None or node is None or node["ended_at"] is not None:
                is_past = True
            elif element < 0:
                is_past = node["attempt"] > attempt
            else:
                is_past = self._is_past(row["id"], node_id, element, attempt)
            if is_past:
                found.append({"name": name})
        return found

    def _is_past(self, execution: int, node_id: str, element: int, attempt: int) -> bool:
        """Whether an attempt of an element of an array has ended, or been followed by another."""
        return any(
            key[:3] == (execution, node_id, element)
            and (key[3] > attempt or (key[3] == attempt and row["ended_at"] is not None))
            for key, row in self.tables["array_elements"].items()
        )

    def workflow_closure(self, _sql: str, workflow: int) -> list[Row]:
        closure = self.workflows.get(workflow)
        return [] if closure is None else [{"closure": closure}]

    # ---- signals.sql ----

    def open(self, _sql: str, *columns: Sequence[Any]) -> list[Row]:
        found: list[Row] = []
        for *parts, _type in zip(*columns, strict=True):
            key = SignalKey(*parts)
            value = self.signals.setdefault(key, None)
            if value is not None:
                found.append({**key._asdict(), "value": value})
        return found

    # ---- children.sql ----

    def parent_settings(self, _sql: str, execution: int) -> list[Row]:
        row = self.executions.get(execution)
        return [] if row is None else [{name: row[name] for name in _SETTINGS}]

    def source(self, _sql: str, _project: str, _domain: str, name: str) -> list[Row]:
        return [
            {"id": row["id"], "workflow_id": row["workflow_id"]}
            for row in self.executions.values()
            if row["name"] == name
        ]

    def find(self, _sql: str, *columns: Sequence[Any]) -> list[Row]:
        children = {(row["parent_execution_id"], row["parent_node_id"], row["name"]): row for row in self._children()}
        asked = [key for key in zip(*columns, strict=True) if key in children]
        return [{"parent": k[0], "node_id": k[1], "name": k[2], "id": children[k]["id"]} for k in asked]

    def ended(self, _sql: str, executions: Sequence[int]) -> list[Row]:
        found: list[Row] = []
        for number in executions:
            row = self.executions.get(number)
            if row is None or row["ended_at"] is not None:
                names = ("phase", "outputs", "outputs_uri", "error", "error_uri")
                found.append({"id": number, **{name: None if row is None else row[name] for name in names}})
        return found

    def abort_orphans(self, _sql: str) -> list[Row]:
        count = 0
        for row in self._children():
            parent = self.executions[row["parent_execution_id"]]
            node = self.tables["node_executions"].get((parent["id"], row["parent_node_id"]))
            is_over = parent["ended_at"] is not None or (node is not None and node["ended_at"] is not None)
            if is_over and row["ended_at"] is None and row["abort_requested_at"] is None:
                count += self.request_abort(row["id"], "orphan")
        return [{"count": count}]

    def abort_eager_orphans(self, _sql: str) -> list[Row]:
        """Nothing here is launched by a task."""
        return [{"count": 0}]

    def _children(self) -> list[Row]:
        return [row for row in self.executions.values() if row["parent_execution_id"] is not None]

    # ---- sources.sql ----

    def source_execution(self, _sql: str, execution: int) -> list[Row]:
        row = self.executions.get(execution)
        return [] if row is None else [{name: row[name] for name in ("id", "name", "workflow_id", "config")}]

    def source_nodes(self, sql: str, executions: Sequence[int], node_ids: Sequence[str]) -> list[Row]:
        nodes = self.tables["node_executions"]
        found = [nodes[key] for key in zip(executions, node_ids, strict=True) if key in nodes]
        return _selected(select_list(sql), found)

    def source_elements(self, sql: str, execution: int, array_id: str, after: int, limit: int) -> list[Row]:
        found = [
            row
            for row in self._elements(execution, array_id)
            if row["element"] > after and row["phase"] == TaskExecution.SUCCEEDED
        ]
        return _selected(select_list(sql), found[:limit])

    def source_last_attempt(self, _sql: str, execution: int, array_id: str, element: int) -> list[Row]:
        attempts = [row["attempt"] for row in self._elements(execution, array_id) if row["element"] == element]
        return [{"max": max(attempts, default=None)}]

    def _elements(self, execution: int, array_id: str) -> list[Row]:
        """Attempts of elements of an array, in order."""
        rows = self.tables["array_elements"]
        return [rows[key] for key in sorted(key for key in rows if key[:2] == (execution, array_id))]

    # ---- lines.sql ----

    def next_begin(self, _sql: str) -> list[Row]:
        now = self.clock()
        waiting = [row for row in self.executions.values() if row["phase"] in (0, 1)]
        begins = [row["begin_by"] - now for row in waiting if row["begin_by"] is not None and row["begin_by"] > now]
        return [{"seconds": min(begins, default=None)}]

    def lines(self, _sql: str) -> list[Row]:
        plans = sorted({row["launch_plan_id"] for row in self.executions.values() if row["waiting"]})
        return [
            {
                "project": "",
                "domain": "",
                "name": str(plan),
                "ids": [plan],
                "waiting": len(self.line(plan)),
                "has_room": self.alive(plan) < self.line(plan)[0]["alive_max"],
            }
            for plan in plans
            if self.line(plan)
        ]

    def admit(self, _sql: str, _project: str, _domain: str, name: str) -> list[Row]:
        """What the function admit_executions does."""
        plan = int(name)
        admitted = 0
        for row in self.line(plan):
            replaced = [r for r in self._of_plan(plan) if r["ended_at"] is None and r["replaced_by"] == row["id"]]
            if self.alive(plan) >= row["alive_max"] or replaced:
                break
            row["waiting"] = False
            admitted += 1
            self.notified("wingbeat_new", "")
        return [{"admit_executions": admitted}]

    def _in(self, shards: Sequence[int]) -> list[Row]:
        wanted = set(shards)
        return [row for row in self.executions.values() if row["shard"] in wanted]


_SETTINGS = ("config", "spec", "principal", "recovery", "priority")
_REPEATED = "AND batch < $3"
"""What lets the fence find a batch that is committed already."""
_KEYS = {
    "node_executions": ("execution_id", "node_id"),
    "task_executions": ("execution_id", "node_id", "attempt"),
    "array_elements": ("execution_id", "node_id", "element", "attempt"),
}
_RECORD = select_list(next(text for text, block in blocks().items() if block == ("executions.sql", "live_executions")))
_STATEMENTS: Mapping[tuple[str, str], Callable[..., list[Row]]] = {
    (file, name): getattr(SimulatedDatabase, name)
    for file, names in {
        "journal.sql": ("open_lane", "lane_batch", "commit"),
        "slots.sql": ("shares", "open_slots", "admit_attempts", "of_executions", "remove_orphans"),
        "leases.sql": ("join", "renew", "end_expired", "take", "release", "leave"),
        "executions.sql": (
            *("new_executions", "told_executions", "live_executions", "nodes", "elements", "abort_requests"),
            *("unwanted", "workflow_closure"),
        ),
        "lines.sql": ("next_begin", "lines", "admit"),
        "signals.sql": ("open",),
        "sources.sql": ("source_execution", "source_nodes", "source_elements", "source_last_attempt"),
        "children.sql": ("parent_settings", "source", "find", "ended", "abort_orphans", "abort_eager_orphans"),
    }.items()
    for name in names
}


def _key(row: Row, columns: Sequence[str]) -> object:
    return row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)


def _selected(columns: Mapping[str, Callable[[Row, Row], object]], rows: Sequence[Row]) -> list[Row]:
    return [{name: value(row, row) for name, value in columns.items()} for row in rows]


def _refuse_nul(record: Sequence[object]) -> None:
    for value in record:
        if type(value) is str and "\0" in value:
            raise asyncpg.CharacterNotInRepertoireError("invalid byte sequence for encoding UTF8: 0x00")
