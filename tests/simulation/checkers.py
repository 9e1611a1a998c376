"""Judges of a world, apart from everything they judge: they see what is written and what is launched, and compare it
with the interpreter's expectation, at each commit and at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flyteidl.core import catalog_pb2
from flyteidl.event import event_pb2

from tests.property.workflows import total
from tests.simulation.cache import Entries
from tests.simulation.database import Change, SimulatedDatabase
from tests.simulation.interpreter import Expectation, Expected
from tests.simulation.programs import OUTPUT, Workflow
from tests.simulation.render import FAILURE
from tests.simulation.sql_text import Row
from wingbeat_propeller.core.caching import CacheStatus, ReservationStatus
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.core.phases import EXECUTION_FINAL, NODE_FINAL, ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import FailurePolicy, NodeKind
from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.ports.tasks import AttemptOrigin


class Violation(AssertionError):  # noqa: N818 - what it is, not an error of the checker
    """The engine has broken a promise."""


@dataclass(slots=True, eq=False)
class Launched:
    """An execution of the world: what it runs, what must come of it, and what has been seen of it."""

    key: int
    name: str
    workflow: Workflow
    expectation: Expectation
    max_parallelism: int
    parent: "Launched | None" = None
    alive_max: int = 0
    """How many executions of its launch plan may be alive at once; 0: any number."""
    replaces: bool = False
    """It has the oldest aborted if there are as many."""
    queue_s: float | None = None
    """Seconds in which it must begin,"""
    deadline_s: float | None = None
    """and in which it must end after its begin."""
    aborted: bool = False
    """Somebody has asked for its abort."""
    disturbed: bool = False
    """Somebody has aborted an execution that it launched: it need not end as the interpreter says."""
    active: set[str] = field(default_factory=set[str])
    """Nodes that take a slot of max_parallelism, as written."""
    elements_running: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Of arrays that take one as long as an element runs."""
    ended: set[str | None] = field(default_factory=set[str | None])
    """Nodes, and None for itself, whose end is in the log of transitions."""


class Checkers:
    """See the module. `objects` are the blobs."""

    def __init__(self, database: SimulatedDatabase, objects: Mapping[str, bytes]) -> None:
        self._database = database
        self._objects = objects
        self.executions: dict[int, Launched] = {}
        self.by_name: dict[str, Launched] = {}
        self._beginning: list[Launched] = []
        """Of the launch plan with a line, in the commit that is looked at."""
        database.observers.append(self.committing)
        database.slots.admitted = self.admitted

    def add(self, launched: Launched) -> None:
        """Watch an execution."""
        self.executions[launched.key] = launched
        self.by_name[launched.name] = launched

    # ---- while the world runs ----

    def committing(self, term: int, changes: Sequence[Change]) -> None:
        """What every commit must hold; called before it takes effect."""
        self._beginning.clear()
        for table, old, new in changes:
            match table:
                case "node_executions":
                    self._node_written(term, old, new)
                case "executions":
                    self._execution_written(term, old, new)
                case "task_executions":
                    self._task_written(old, new)
                case "transitions":
                    self._logged(new)
                case "array_elements":
                    self._element_written(term, old, new)

    def launching(self, term: int, name: str, origin: AttemptOrigin) -> None:
        """No attempt is launched before its row is durable, and none of a limited tenant without a slot."""
        launched = self.by_name[origin.execution]
        row = self._database.tables["node_executions"].get((launched.key, origin.node_id))
        if origin.element >= 0:
            before = (launched.key, origin.node_id, origin.element, origin.attempt - 1)
            if row is None or (origin.attempt and before not in self._database.tables["array_elements"]):
                raise Violation(f"{origin} is launched, and what leads to it is not durable: {row}")
        elif row is None or int(row["attempt"]) < origin.attempt:
            raise Violation(f"{origin} is launched, and its row is not durable: {row}")
        slots = self._database.slots
        is_current = term in self._database.members and row["attempt"] == origin.attempt and row["ended_at"] is None
        if is_current and (launched.key, name) not in slots.taken:
            limits = [slots.shares.get((origin.project, domain)) for domain in (origin.domain, "")]
            if any(s is not None and s.running_max is not None and slots.seen[term] >= s.limited_at for s in limits):
                raise Violation(f"{origin} is launched without a slot: {slots}")

    def launching_serialized(self, origin: AttemptOrigin, entries: Entries) -> None:
        """Of calls that are to be made one at a time none is made while another has the reservation, unless the cache
        failed or the reservation had lapsed for want of a living owner."""
        launched = self.by_name[origin.execution]
        row = self._database.tables["node_executions"].get((launched.key, origin.node_id))
        if row is None or origin.element >= 0:
            return
        metadata = event_pb2.NodeExecutionEvent.FromString(row["details"] or b"").task_node_metadata
        if metadata.reservation_status == catalog_pb2.CatalogReservation.RESERVATION_FAILURE:
            return
        if row["cache_status"] != CacheStatus.MISS:
            return
        tag = metadata.catalog_key.artifact_tag.name
        own = generated_name(origin.execution, origin.node_id, 0)
        owner, until = entries.reservations.get(tag, (own, 0.0))
        if owner != own and until > entries.clock() and (tag, own) not in entries.lapsed:
            raise Violation(f"{origin} is launched while {owner} has the reservation of its call")

    def admitted(self, scope: tuple[str, str], running_max: int, taken: int) -> None:
        """No limit is passed by an attempt that is let in."""
        if taken > running_max:
            raise Violation(f"{taken} attempts of {scope} have slots, {running_max} allowed")

    def _owned(self, term: int, execution: int) -> None:
        shard: int = self._database.executions[execution]["shard"]
        owner = self._database.shards[shard]
        if owner != term:
            raise Violation(f"term {term} writes to execution {execution}, whose shard belongs to term {owner}")

    def _node_written(self, term: int, old: Row | None, new: Row) -> None:
        launched = self.executions[new["execution_id"]]
        self._owned(term, launched.key)
        place = str(new["node_id"])
        what = f"node {place} of {launched.name}"
        if old is not None:
            if old["phase"] in NODE_FINAL:
                raise Violation(f"{what} changes after its end: {_shown(old)} becomes {_shown(new)}")
            if old["seq"] != new["seq"]:
                raise Violation(f"{what} changes its place: {_shown(old)} becomes {_shown(new)}")
            if old["attempt"] > new["attempt"]:
                raise Violation(f"{what} goes back to an earlier attempt: {_shown(old)} becomes {_shown(new)}")
        expected = launched.expectation.nodes.get(place)
        if launched.disturbed:
            return
        if expected is None:
            raise Violation(f"{what} must not exist: {_shown(new)}")
        self._within_budgets(what, expected, new)
        if new["phase"] in NODE_FINAL:
            if new["phase"] == NodePhase.SUCCEEDED:
                self._right_value(what, expected, new)
            launched.active.discard(place)
            if new["ended_at"] is None:
                raise Violation(f"{what} has ended without a time: {_shown(new)}")
        elif new["phase"] == NodePhase.DYNAMIC_RUNNING or _waits_for_another(new):
            launched.active.discard(place)
        elif expected.counts and not expected.rests:
            launched.active.add(place)
            self._within_limit(launched)

    def _within_limit(self, launched: Launched) -> None:
        if launched.max_parallelism and len(launched.active) > launched.max_parallelism:
            raise Violation(f"{launched.name} runs {len(launched.active)} at once, {launched.max_parallelism} allowed")

    def _element_written(self, term: int, old: Row | None, new: Row) -> None:
        launched = self.executions[new["execution_id"]]
        self._owned(term, launched.key)
        what = f"element {new['element']} of {new['node_id']} of {launched.name}"
        over = (*_ATTEMPT_FINAL, TaskPhase.RETRYABLE_FAILED)
        if old is not None and old["phase"] in over and old["phase"] != new["phase"]:
            raise Violation(f"{what} changes after its end: {_shown(old)} becomes {_shown(new)}")
        expected = launched.expectation.elements.get((new["node_id"], new["element"]))
        if launched.disturbed:
            return
        if expected is None:
            raise Violation(f"{what} must not exist: {_shown(new)}")
        self._within_budgets(what, expected, new)
        if new["phase"] == TaskPhase.SUCCEEDED:
            self._right_value(what, expected, new)
        array = launched.expectation.nodes.get(new["node_id"])
        if array is not None and array.counts and array.rests:
            self._count_element(launched, new["node_id"], new["element"], is_running=new["phase"] == TaskPhase.RUNNING)

    def _count_element(self, launched: Launched, array: str, element: int, *, is_running: bool) -> None:
        running = launched.elements_running
        if is_running:
            running.add((array, element))
            launched.active.add(array)
            self._within_limit(launched)
        else:
            running.discard((array, element))
            if not any(other == array for other, _ in running):
                launched.active.discard(array)

    def _within_budgets(self, what: str, expected: Expected, row: Row) -> None:
        attempt: int = row["attempt"]
        if attempt + 1 >= expected.attempts.stop:
            raise Violation(f"{what} makes attempt {attempt + 1}, beyond its budgets: {expected}")
        if expected.system_failures is not None:
            counted: int = row["system_failures"]
            low, high = expected.system_failures[attempt], expected.system_failures[attempt + 1]
            if not low <= counted <= high:
                raise Violation(f"{what} counts {counted} failures of the system, {low} to {high} happened")

    def _right_value(self, what: str, expected: Expected, row: Row) -> None:
        if NodePhase.SUCCEEDED not in expected.phases:
            raise Violation(f"{what} succeeds and must not: {expected}")
        if expected.value is not None and row["outputs"] is not None:
            data: bytes = row["outputs"]
            if (got := _value_of(data)) != expected.value:
                raise Violation(f"{what} has the output {got}, expected {expected.value}")

    def _execution_written(self, term: int, old: Row | None, new: Row) -> None:
        assert old is not None, "executions are updated"
        launched = self.executions[new["id"]]
        self._owned(term, launched.key)
        if old["ended_at"] is not None:
            raise Violation(f"{launched.name} changes after its end: {_shown(old)} becomes {_shown(new)}")
        if old["started_at"] is None and new["started_at"] is not None:
            self._begins(launched, old)
        if (new["phase"] in EXECUTION_FINAL) is (new["ended_at"] is None):
            raise Violation(f"{launched.name} has phase and time that do not fit: {_shown(new)}")

    def _begins(self, launched: Launched, old: Row) -> None:
        """Never more than the launch plan allows, nobody out of turn, and nobody before those that make room for it."""
        if old["waiting"]:
            raise Violation(f"{launched.name} begins and has not been let go: {_shown(old)}")
        if not launched.alive_max:
            return
        others = [row for row in self._database.executions.values() if row["launch_plan_id"] == old["launch_plan_id"]]
        alive = [row["name"] for row in others if row["started_at"] is not None and row["ended_at"] is None]
        alive += [each.name for each in self._beginning]
        self._beginning.append(launched)
        if len(alive) >= launched.alive_max:
            raise Violation(f"{launched.name} begins while {alive} are alive, {launched.alive_max} allowed")
        for row in others:
            if row["id"] < launched.key and row["waiting"] and row["phase"] == ExecutionPhase.QUEUED:
                raise Violation(f"{launched.name} overtakes {row['name']}")
            if row["replaced_by"] == launched.key and row["ended_at"] is None:
                raise Violation(f"{launched.name} begins before {row['name']} has ended, which it replaces")

    def _task_written(self, old: Row | None, new: Row) -> None:
        if old is not None and old["phase"] in _ATTEMPT_FINAL and old["phase"] != new["phase"]:
            raise Violation(f"an attempt changes after its end: {_shown(old)} becomes {_shown(new)}")

    def _logged(self, new: Row) -> None:
        launched = self.executions[new["execution_id"]]
        place: str | None = new["node_id"]
        if place in launched.ended:
            raise Violation(f"{launched.name} logs progress of {place or 'itself'} after its end: {_shown(new)}")
        if new["phase"] in (EXECUTION_FINAL if place is None else NODE_FINAL):
            launched.ended.add(place)

    # ---- at the end ----

    def check_end(self) -> None:
        """Every execution has ended as the interpreter says."""
        for launched in self.executions.values():
            self._check_execution(launched)

    def _check_execution(self, launched: Launched) -> None:
        row = self._database.executions[launched.key]
        rows = {str(node["node_id"]): node for node in self._database.nodes_of[launched.key]}
        for place, node in rows.items():
            if node["phase"] not in NODE_FINAL:
                raise Violation(f"{launched.name} has ended and its node {place} has not: {_shown(node)}")
        if launched.disturbed or (launched.aborted and row["phase"] == ExecutionPhase.ABORTED):
            return
        if row["phase"] == ExecutionPhase.TIMED_OUT:
            limit_s = launched.queue_s if row["started_at"] is None else launched.deadline_s
            if limit_s is None or row["error"] is None:
                raise Violation(f"{launched.name} has no such deadline, or no reason: {_shown(row)}")
            return
        expected = launched.expectation
        wanted = ExecutionPhase.FAILED if expected.value is None else ExecutionPhase.SUCCEEDED
        if row["phase"] != wanted:
            raise Violation(f"{launched.name} must end {wanted.name}: {_shown(row)}")
        if expected.value is not None:
            data = row["outputs"] if row["outputs"] is not None else self._objects[str(row["outputs_uri"])]
            got = _value_of(data)
            if got != expected.value:
                raise Violation(f"{launched.name} has the output {got}, expected {expected.value}")
        elif row["error"] is None:
            raise Violation(f"{launched.name} has failed without a reason")
        self._check_nodes(launched, rows)

    def _check_nodes(self, launched: Launched, rows: Mapping[str, Row]) -> None:
        expected = launched.expectation
        is_whole = (
            expected.value is not None or launched.workflow.policy is FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
        )
        certain = {place for place, want in expected.nodes.items() if not want.is_optional}
        if is_whole and not certain <= set(rows):
            raise Violation(f"{launched.name} has no nodes {sorted(certain - set(rows))}: it has nodes {sorted(rows)}")
        if expected.value is None and launched.workflow.failure is not None:
            handler = rows.get(FAILURE)
            if handler is None or handler["phase"] == NodePhase.ABORTED:
                raise Violation(f"the failure node of {launched.name} has not run: {handler}")
        for place, node in rows.items():
            want = expected.nodes[place]
            what = f"node {place} of {launched.name}"
            if node["phase"] == NodePhase.ABORTED and (want.is_optional or not is_whole):
                continue
            if node["kind"] == NodeKind.ARRAY and node["phase"] == NodePhase.SUCCEEDED:
                self._check_elements(launched, place)
            if node["phase"] not in want.phases:
                raise Violation(f"{what} must end as {sorted(want.phases)}: {_shown(node)}")
            attempts: int = node["attempt"] + 1
            if attempts not in want.attempts:
                raise Violation(f"{what} made {attempts} attempts, expected {want.attempts}")
            if want.value is not None and node["outputs"] is None:
                data = self._objects.get(str(node["output_uri"]))
                if data is None:
                    raise Violation(f"{what} has lost its outputs: {_shown(node)}")
                if (got := _value_of(data)) != want.value:
                    raise Violation(f"{what} has the output {got}, expected {want.value}")
            was_run = node["phase"] != NodePhase.SKIPPED and node["cache_status"] != CacheStatus.HIT
            if node["kind"] == NodeKind.TASK and was_run:
                stored = self._database.tables["task_executions"]
                # The deadline of all attempts may come before the last one has started.
                certain = attempts - 1 if node["phase"] == NodePhase.TIMED_OUT else attempts
                missing = [a for a in range(certain) if (launched.key, place, a) not in stored]
                if missing:
                    raise Violation(f"{what} lacks the rows of its attempts {missing}")

    def _check_elements(self, launched: Launched, array_id: str) -> None:
        """Every element of an array that has succeeded has ended as expected."""
        last: dict[int, Row] = {}
        for (execution, node_id, element, _), row in self._database.tables["array_elements"].items():
            known = last.get(element)
            if (execution, node_id) == (launched.key, array_id) and (
                known is None or known["attempt"] < row["attempt"]
            ):
                last[element] = row
        wanted = {index: one for (node_id, index), one in launched.expectation.elements.items() if node_id == array_id}
        if set(last) != set(wanted):
            raise Violation(f"{array_id} of {launched.name} has elements {sorted(last)}, expected {sorted(wanted)}")
        for index, row in last.items():
            want = wanted[index]
            phase = TaskPhase.SUCCEEDED if NodePhase.SUCCEEDED in want.phases else TaskPhase.FAILED
            if row["phase"] != phase or row["attempt"] + 1 not in want.attempts:
                raise Violation(f"element {index} of {array_id} of {launched.name} must end {want}: {_shown(row)}")


_ATTEMPT_FINAL = (TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.ABORTED)


def _waits_for_another(row: Row) -> bool:
    """Whether a node waits for the one that makes what it needs; it has given its slot back."""
    details: bytes = row["details"] or b""
    metadata = event_pb2.NodeExecutionEvent.FromString(details).task_node_metadata
    return metadata.reservation_status == ReservationStatus.EXISTS


def _value_of(data: bytes) -> int:
    """The number in a LiteralMap of inputs or outputs."""
    values = split_literal_map(data)
    return total(values[OUTPUT] if OUTPUT in values else next(iter(values.values())))


def _shown(row: Row) -> str:
    hidden = {"config", "inputs", "outputs", "details"}
    return ", ".join(f"{name}={value!r}" for name, value in row.items() if value is not None and name not in hidden)
