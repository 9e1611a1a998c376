"""Single rules of array nodes: sizes, names, windows, budgets, deadlines, and how many must succeed."""

from dataclasses import replace
from fractions import Fraction

import pytest
from flyteidl.core import literals_pb2
from tests.unit.core.arrays import AT_ONCE, array, array_plan, begun, integer, integers, launches, outputs
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.array_inputs import ArrayInputs, take_apart
from wingbeat_propeller.core.bindings import BindingProgram, Constant
from wingbeat_propeller.core.effects import Abort, Effects, Gather, OpenArray
from wingbeat_propeller.core.events import (
    AbortRequested,
    ArrayOpened,
    Begin,
    Continue,
    Gathered,
    PrepareFailed,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.kinds.array_progress import BEGUN_MAX
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import ArraySpec
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.core.rows import FLAG_ARRAY, ElementRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Ref, split_literal_map

USER = Failure(ErrorKind.USER, "E", "no", retryable=True)
FATAL = Failure(ErrorKind.USER, "F", "never")
SYSTEM = Failure(ErrorKind.SYSTEM, "S", "gone", retryable=True)


class Run:
    """An execution of one array over integers, every read answered at once."""

    def __init__(
        self, spec: ArraySpec, values: list[int], *, elements_max: int = 100, retry: RetryPolicy = AT_ONCE
    ) -> None:
        self.state, effects = begun(spec, values, elements_max=elements_max, retry=retry)
        self.now = 100.0
        self.nodes: dict[str, NodeRow] = {}
        self.elements: dict[tuple[int, int], ElementRow] = {}
        self.under_way: dict[int, object] = {}
        self.effects = self._take(effects)

    def _take(self, effects: Effects) -> Effects:
        for row in effects.nodes:
            self.nodes[row.node_id] = row
        for element in effects.elements:
            self.elements[element.element, element.attempt] = element
        for request in effects.reads:
            if isinstance(request, OpenArray):
                opened = take_apart(request.spec, dict(request.values))
                self._add(effects, step(self.state, ArrayOpened(self.now, request.ref, opened)))
        if effects.unfinished:
            self._add(effects, step(self.state, Continue(self.now)))
        return effects

    def _add(self, effects: Effects, more: Effects) -> None:
        self._take(more)
        effects.commands += more.commands
        effects.nodes += more.nodes
        effects.tasks += more.tasks
        effects.timers += more.timers
        effects.execution_row = more.execution_row or effects.execution_row

    def tell(self, event: object) -> Effects:
        """One step."""
        self.effects = self._take(step(self.state, event))
        return self.effects

    def succeed(self, launch, value: int = 1) -> Effects:
        """An attempt is done."""
        data = outputs(value)
        return self.tell(TaskSucceeded(self.now, launch.ref, self.now, dict(split_literal_map(data)), data))

    def fail(self, launch, failure: Failure) -> Effects:
        """An attempt has failed."""
        return self.tell(TaskFailed(self.now, launch.ref, self.now, failure))

    @property
    def phase(self) -> int:
        """Of the array node."""
        return self.nodes["n0"].phase

    @property
    def result(self) -> list[int | None]:
        """The integers that the array has made; None for a literal of none."""
        row = self.nodes["n0"]
        assert row.outputs is not None
        collection = literals_pb2.Literal.FromString(split_literal_map(row.outputs)["o0"]).collection
        return [
            None if literal.scalar.HasField("none_type") else literal.scalar.primitive.integer
            for literal in collection.literals
        ]


def test_an_element_has_names_paths_and_variables_of_its_own() -> None:
    """All read the array's inputs.pb; outputs, names and the index differ, and attempts of one element as well."""
    run = Run(array(attempts_max=2), [7, 8])
    first, second = launches(run.effects)
    again = launches(run.fail(second, USER))[0]
    base = "mem://b/p-d-e/n0/data"
    assert [(each.data_dir, each.output_dir) for each in (first, second, again)] == [
        (base, f"{base}/0/0/0"),
        (base, f"{base}/0/1/0"),
        (base, f"{base}/0/1/1"),
    ]
    assert [each.generated_name for each in (first, second, again)] == ["e-n0-0-n0-0", "e-n0-0-n1-0", "e-n0-0-n1-1"]
    assert [each.name for each in (first, again)] == ["e-n0-0-n0-0-1", "e-n0-0-n1-1-1"]
    assert (again.node_id, again.array_id, again.previous_generated_name) == ("n0-0-n1", "n0", "e-n0-0-n1-0")
    assert again.env == {
        "BATCH_JOB_ARRAY_INDEX_VAR_NAME": "FLYTE_K8S_ARRAY_INDEX",
        "FLYTE_K8S_ARRAY_INDEX": "1",
    }


def test_the_older_kind_adds_the_index_itself() -> None:
    """Its program is told a prefix per attempt, and what it leaves is looked for below, at the index."""
    (launch,) = launches(Run(array(appends_index=True), [7]).effects)
    assert launch.output_prefix == "mem://b/p-d-e/n0/data/0/0"
    assert launch.output_dir == "mem://b/p-d-e/n0/data/0/0/0"


def test_no_two_elements_share_a_name() -> None:
    """Names stay apart where the ids of nodes are hashed: the index stands behind the hash."""
    deep = array_plan(array())
    for _ in range(6):
        deep = line(deep)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e" * 60, deep, Settings(base_uri="mem://b"))
    effects = step(state, Begin(100.0, {"x": integers(range(5)).SerializeToString()}))
    (request,) = effects.reads
    assert isinstance(request, OpenArray)
    opened = take_apart(request.spec, dict(request.values))
    names = {launch.generated_name for launch in launches(step(state, ArrayOpened(100.0, request.ref, opened)))}
    assert len(names) == 5
    assert all(len(name) <= 63 for name in names)


def test_elements_that_pick_get_inputs_of_their_own() -> None:
    """The item at the index, in a file of the element's own."""
    _, effects = begun(array(picks=True), [7, 8])
    first, second = launches(effects)
    assert first.inputs is not None
    assert literals_pb2.LiteralMap.FromString(first.inputs).literals["x"] == integer(7)
    assert second.inputs is not None
    assert literals_pb2.LiteralMap.FromString(second.inputs).literals["x"] == integer(8)
    assert second.data_dir == "mem://b/p-d-e/n0/data/0/1"
    assert [launch.output_dir for launch in (first, second)] == [f"{launch.data_dir}/0" for launch in (first, second)]


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ({"x": [1, 2], "y": [3, 4]}, (), 2),
        ({"x": [], "y": []}, (), 0),
        ({"x": [1, 2], "y": 3}, (), 2),
        ({"x": [1, 2], "y": [3]}, ("y",), 2),
        ({"x": [1, 2]}, ("x",), 1),
        ({}, (), 1),
        ({"x": [1, 2], "y": [3]}, (), "the lists to map over differ in length: x has 2, y has 1"),
        ({"x": 1, "y": 2}, (), "none of the inputs (x, y) is a list"),
    ],
)
def test_size(values: dict[str, list[int] | int], bound: tuple[str, ...], expected: int | str) -> None:
    """All lists that are not bound are equally long; where everything is bound there is one element."""
    spec = array(bound_inputs=frozenset(bound))
    given = {
        name: (integers(value) if isinstance(value, list) else integer(value)).SerializeToString()
        for name, value in values.items()
    }
    size = take_apart(spec, given).size
    if isinstance(expected, str):
        assert size == Failure(ErrorKind.USER, "InvalidArrayLength", expected)
    else:
        assert size == expected


def test_lists_of_different_length_fail_the_node() -> None:
    """For good, with nothing launched."""
    state, effects = begun(array(), [])
    assert effects.execution_row is not None
    spec = array(picks=True)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", array_plan(spec), Settings(base_uri="mem://b"))
    effects = step(state, Begin(100.0, {"x": integer(1).SerializeToString()}))
    assert effects.nodes[-1].failure is not None
    assert effects.nodes[-1].failure.code == "InvalidArrayLength"
    assert not effects.commands


def test_an_empty_list_succeeds_at_once() -> None:
    """With an empty list, one task execution, and nothing read, stored or launched."""
    run = Run(array(), [])
    assert run.phase == NodePhase.SUCCEEDED
    assert run.result == []
    assert not run.effects.reads
    assert [(row.task_type, row.phase) for row in run.effects.tasks][-1] == ("container_array", TaskPhase.SUCCEEDED)


def test_outputs_stand_in_the_order_of_the_items() -> None:
    """Whatever the order in which elements end."""
    run = Run(array(), [5, 6, 7])
    for launch, value in reversed(list(zip(launches(run.effects), (50, 60, 70), strict=True))):
        run.succeed(launch, value)
    assert run.result == [50, 60, 70]
    assert run.nodes["n0"].flags == FLAG_ARRAY
    assert run.state.ended


def test_parallelism_bounds_what_is_under_way() -> None:
    """As many as the node allows, in the order of their indexes, one more for each that ends."""
    run = Run(array(parallelism=2), [1, 2, 3, 4])
    first = launches(run.effects)
    assert [launch.ref.element for launch in first] == [0, 1]
    assert [launch.ref.element for launch in launches(run.succeed(first[1]))] == [2]
    assert [launch.ref.element for launch in launches(run.succeed(first[0]))] == [3]


def test_long_lists_begin_in_a_window_and_a_few_at_a_time() -> None:
    """No more under way than the engine's own limit; no more in one step than a commit should hold."""
    run = Run(array(), [1] * 2000, elements_max=700)
    assert len(launches(run.effects)) == BEGUN_MAX
    (timer,) = run.effects.timers
    assert (timer.kind, timer.at) == (TimerKind.WAKE, 100.0)
    effects = run.tell(TimerFired(100.0, timer.ref, TimerKind.WAKE))
    assert len(launches(effects)) == 700 - BEGUN_MAX
    assert not effects.timers


def test_budgets_are_those_of_each_element() -> None:
    """User errors consume the element's attempts, system errors the installation's; other elements keep theirs."""
    run = Run(array(attempts_max=2), [1, 2])
    first, second = launches(run.effects)
    for attempt in range(3):
        (first,) = launches(run.fail(first, SYSTEM))
        assert first.ref.attempt == attempt + 1
    (first,) = launches(run.fail(first, USER))
    run.succeed(first)
    (second,) = launches(run.fail(second, USER))
    run.fail(second, USER)
    assert run.phase == NodePhase.FAILED
    failure = run.nodes["n0"].failure
    assert failure is not None
    assert failure.code == "RetriesExhausted|E"
    assert failure.message == "[1]: [2/2] currentAttempt done. Last Error: USER::no\n"
    assert run.elements[0, 4].phase == TaskPhase.SUCCEEDED
    assert [run.elements[0, attempt].phase for attempt in range(4)] == [TaskPhase.RETRYABLE_FAILED] * 4
    assert run.elements[0, 4].system_failures == 3


def test_the_last_system_attempt_is_not_interrupted() -> None:
    """Counted for each element."""
    run = Run(array(interruptible=True), [1, 2])
    first, second = launches(run.effects)
    for _ in range(3):
        assert first.interruptible
        (first,) = launches(run.fail(first, SYSTEM))
    assert not first.interruptible
    assert launches(run.fail(second, SYSTEM))[0].interruptible


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 5),
        ({"min_success_ratio": Fraction(3, 5)}, 3),
        ({"min_success_ratio": Fraction(1, 2)}, 3),
        ({"min_success_ratio": Fraction(0)}, 0),
        ({"min_successes": 2, "min_success_ratio": Fraction(1)}, 2),
        ({"min_successes": 0}, 0),
    ],
)
def test_successes_needed(changes: dict[str, object], needed: int) -> None:
    """`min_successes` if it is given, else the ratio, rounded up, else all."""
    assert array(**changes).successes_needed(5) == needed


def test_fails_as_soon_as_too_many_have_failed() -> None:
    """What is under way is aborted, and its end recorded; equal messages are told once."""
    run = Run(array(min_success_ratio=Fraction(1, 2), parallelism=4), [1] * 5)
    attempts = launches(run.effects)
    run.succeed(attempts[3])
    assert not run.state.ended
    run.fail(attempts[0], FATAL)
    run.fail(attempts[1], FATAL)
    assert not run.state.ended
    effects = run.fail(attempts[2], Failure(ErrorKind.SYSTEM, "G", "other"))
    assert run.phase == NodePhase.FAILED
    assert run.nodes["n0"].failure == Failure(ErrorKind.USER, "F", "[0-1]: never\n[2]: other\n")
    assert [command.ref.element for command in effects.commands if isinstance(command, Abort)] == [4]
    assert run.elements[4, 0].phase == TaskPhase.ABORTED
    assert effects.tasks[-1].phase == TaskPhase.FAILED


def test_runs_all_when_told_to() -> None:
    """The others go on after too many have failed, then the node fails."""
    run = Run(array(runs_all=True, parallelism=1), [1, 2, 3])
    effects = run.effects
    for index in range(3):
        (launch,) = launches(effects)
        assert launch.ref.element == index
        effects = run.succeed(launch) if index == 1 else run.fail(launch, FATAL)
    assert run.phase == NodePhase.FAILED
    assert run.nodes["n0"].failure == Failure(ErrorKind.USER, "F", "[0][2]: never\n")


def test_succeeds_only_when_nothing_runs_any_more() -> None:
    """Failed elements leave none in their places."""
    run = Run(array(min_successes=1), [1, 2, 3])
    attempts = launches(run.effects)
    run.succeed(attempts[1], 20)
    run.fail(attempts[0], FATAL)
    assert run.phase == NodePhase.RUNNING
    run.fail(attempts[2], FATAL)
    assert run.phase == NodePhase.SUCCEEDED
    assert run.result == [None, 20, None]


def test_more_successes_than_elements_cannot_be() -> None:
    """The node fails at once and says so."""
    run = Run(array(min_successes=3), [1, 2])
    failure = run.nodes["n0"].failure
    assert failure is not None
    assert failure.message == "3 elements must succeed, but there are 2"
    assert not launches(run.effects)


def test_late_and_doubled_news_change_nothing() -> None:
    """News of an attempt that is over, or of an element that has not begun."""
    run = Run(array(attempts_max=2, parallelism=1), [1, 2])
    (first,) = launches(run.effects)
    (again,) = launches(run.fail(first, USER))
    assert not run.fail(first, USER).writes
    assert not run.succeed(first).writes
    assert not run.tell(TaskStarted(101.0, first.ref, 101.0)).writes
    assert not run.tell(TaskSucceeded(101.0, first.ref._replace(element=1), 101.0, {}, outputs(1))).writes
    assert run.succeed(again).writes
    assert not run.succeed(again).writes


def test_an_element_that_takes_too_long_is_tried_again() -> None:
    """Its clock starts when it runs; the other element's does not count for it."""
    run = Run(array(attempts_max=2, timeout_s=10.0), [1, 2])
    first, second = launches(run.effects)
    run.tell(TaskStarted(101.0, first.ref, 101.0))
    run.tell(TaskStarted(105.0, second.ref, 105.0))
    run.now = 111.0
    effects = run.tell(TimerFired(111.0, first.ref._replace(attempt=0, element=-1), TimerKind.WAKE))
    assert [command.ref.element for command in effects.commands if isinstance(command, Abort)] == [0]
    (again,) = launches(effects)
    assert again.ref[2:] == (1, 0)
    assert run.elements[0, 0].failure is not None
    assert run.elements[0, 0].failure.code == "TimeoutExpired"
    assert effects.timers[-1].at == 115.0


def test_all_attempts_of_an_element_together_take_twice_the_timeout_at_most() -> None:
    """Counted from the element's turn, for good."""
    run = Run(array(attempts_max=9, timeout_s=10.0, parallelism=1, min_successes=0), [1, 2])
    (first,) = launches(run.effects)
    assert [timer.at for timer in run.effects.timers] == [120.0]
    run.now = 120.0
    effects = run.tell(TimerFired(120.0, first.ref._replace(element=-1), TimerKind.WAKE))
    assert run.elements[0, 0].failure == Failure(ErrorKind.USER, "Timeout", "Timeout in node")
    (second,) = launches(effects)
    assert second.ref.element == 1
    assert effects.timers[-1].at == 140.0


def test_an_element_pauses_after_a_failure_of_the_system() -> None:
    """It keeps its place, its next attempt begins when the pause is over, and the pause survives a restart."""
    run = Run(array(parallelism=1), [1, 2], retry=RetryPolicy(backoff_s=8.0))
    (first,) = launches(run.effects)
    effects = run.fail(first, SYSTEM)
    assert not launches(effects)
    retry_at = run.elements[0, 0].retry_at
    assert retry_at is not None
    assert [(timer.kind, timer.at) for timer in effects.timers] == [(TimerKind.WAKE, retry_at)]
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", run.state.plan, run.state.settings)
    rows = sorted(run.nodes.values(), key=lambda row: row.seq)
    inputs = {"x": integers([1, 2]).SerializeToString()}
    again = rebuild(state, rows, inputs, elements=run.elements.values(), started_at=100.0, now=101.0)
    assert not again.adopt
    assert [timer.at for timer in again.timers] == [retry_at]
    run.now = retry_at
    effects = run.tell(TimerFired(retry_at, effects.timers[0].ref, TimerKind.WAKE))
    assert [launch.ref[2:] for launch in launches(effects)] == [(1, 0)]
    effects = run.fail(launches(effects)[0], SYSTEM)
    effects = run.tell(AbortRequested(retry_at, "enough"))
    assert not [command for command in effects.commands if isinstance(command, Abort)]
    assert (0, 2) not in run.elements


def test_an_element_may_turn_out_to_be_dynamic() -> None:
    """What it made runs as a frame of the element, before and after a restart, and takes slots for itself."""
    run = Run(array(attempts_max=2), [1, 2])
    first, second = launches(run.effects)
    plan = line(task("inner"))
    constant = BindingProgram((("x", Constant(integer(1).SerializeToString())),))
    made = replace(plan, bindings=(*plan.bindings[:2], constant))
    effects = run.tell(TaskBecameDynamic(101.0, first.ref, 101.0, made, b"", "mem://futures"))
    assert effects.ended == [first.name]
    assert run.elements[0, 0].is_dynamic
    assert run.state.active == 1
    (inner,) = launches(effects)
    assert inner.node_id == "n0-0-n0-0-n0"
    assert not run.succeed(first).writes
    run.succeed(second, 20)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", run.state.plan, run.state.settings)
    rows = sorted(run.nodes.values(), key=lambda row: row.seq)
    inputs = {"x": integers([1, 2]).SerializeToString()}
    plans = {("n0/0", 0): made}
    again = rebuild(
        state, rows, inputs, elements=run.elements.values(), started_at=100.0, now=102.0, dynamic_plans=plans
    )
    assert [launch.name for launch in again.adopt] == [inner.name]
    run.succeed(inner, 10)
    assert run.result == [10, 20]


def test_abort_stops_what_is_under_way() -> None:
    """Elements that have not begun leave no row."""
    run = Run(array(parallelism=2), [1, 2, 3])
    run.succeed(launches(run.effects)[0])
    effects = run.tell(AbortRequested(102.0, "enough"))
    assert sorted(command.ref.element for command in effects.commands if isinstance(command, Abort)) == [1, 2]
    assert {index: row.phase for (index, _), row in run.elements.items()} == {
        0: TaskPhase.SUCCEEDED,
        1: TaskPhase.ABORTED,
        2: TaskPhase.ABORTED,
    }
    assert effects.tasks[-1].phase == TaskPhase.ABORTED
    assert run.phase == NodePhase.ABORTED


def test_many_outputs_are_put_together_outside() -> None:
    """What is too much for a row is gathered by the shell, from rows and blobs, and the node ends with its answer."""
    run = Run(array(min_successes=1), [1, 2, 3])
    attempts = launches(run.effects)
    large = b"\x0a" + b"\x00" * INLINE_BYTES_MAX
    run.tell(TaskSucceeded(101.0, attempts[0].ref, 101.0, {}, large))
    run.tell(TaskSucceeded(101.0, attempts[1].ref, 101.0, {"o0": Ref("mem://x", "o0")}, None))
    effects = run.fail(attempts[2], FATAL)
    (request,) = effects.reads
    assert isinstance(request, Gather)
    assert list(request.elements) == [large, "mem://b/p-d-e/n0/data/0/1/0/outputs.pb", None]
    assert run.elements[1, 0].output_uri == request.elements[1]
    assert run.phase == NodePhase.RUNNING
    run.tell(Gathered(102.0, request.ref, {"o0": Ref(request.uri, "o0")}, None))
    assert run.phase == NodePhase.SUCCEEDED
    assert run.nodes["n0"].output_uri == "mem://b/p-d-e/n0/data/0/outputs.pb"


def test_outputs_that_cannot_be_put_together_fail_the_node() -> None:
    """For good; a second word about it changes nothing."""
    run = Run(array(), [1])
    effects = run.tell(TaskSucceeded(101.0, launches(run.effects)[0].ref, 101.0, {"o0": Ref("mem://x", "o0")}, None))
    failure = Failure(ErrorKind.SYSTEM, "OutputsNotReadable", "gone")
    effects = run.tell(PrepareFailed(102.0, effects.reads[0].ref, failure))
    assert run.nodes["n0"].failure == failure
    assert effects.tasks[-1].phase == TaskPhase.FAILED


def test_a_restart_goes_on_where_the_rows_say() -> None:
    """What has ended is not asked for again, budgets are as they were, and only what may have begun is adopted."""
    run = Run(array(attempts_max=3, parallelism=3, min_success_ratio=Fraction(1, 2)), [1, 2, 3, 4, 5, 6])
    first, second, third = launches(run.effects)
    run.succeed(first, 10)
    (second,) = launches(run.fail(second, USER))
    run.fail(third, FATAL)
    state = ExecutionState(
        ExecutionKey(1), "p", "d", "e", run.state.plan, Settings(base_uri="mem://b", elements_max=100)
    )
    rows = sorted(run.nodes.values(), key=lambda row: row.seq)
    last = {index: row for (index, _), row in sorted(run.elements.items())}
    inputs = {"x": integers([1, 2, 3, 4, 5, 6]).SerializeToString()}
    effects = rebuild(state, rows, inputs, elements=last.values(), started_at=100.0, now=200.0)
    assert [(launch.ref.element, launch.ref.attempt) for launch in effects.adopt] == [(1, 1), (3, 0), (4, 0)]
    assert all(launch.is_repeat for launch in effects.adopt)
    again = effects.adopt[0]
    effects = step(state, TaskFailed(201.0, again.ref, 201.0, USER))
    effects = step(state, TaskFailed(202.0, launches(effects)[0].ref, 202.0, USER))
    assert effects.elements[-1].phase == TaskPhase.FAILED
    assert effects.elements[-1].attempt == 2
    for index in (3, 4):
        step(state, TaskSucceeded(203.0, again.ref._replace(element=index, attempt=0), 203.0, {}, outputs(index)))
    effects = step(state, TaskSucceeded(204.0, again.ref._replace(element=5, attempt=0), 204.0, {}, outputs(5)))
    assert effects.execution_row is not None
    assert effects.execution_row.phase == ExecutionPhase.SUCCEEDED


def test_decks_of_elements() -> None:
    """Announced when an element begins, in the folder of its outputs, and then as its attempt left it."""
    run = Run(array(replace(task("t"), wants_deck=True), attempts_max=2), [7, 8])
    first, second = launches(run.effects)
    for launch in (first, second):
        run.tell(TaskStarted(run.now, launch.ref, run.now))
    assert run.elements[1, 0].deck_uri == f"{second.output_dir}/deck.html"
    data = outputs(1)
    values = dict(split_literal_map(data))
    run.tell(TaskSucceeded(run.now, first.ref, run.now, values, data, deck_uri=f"{first.output_dir}/deck.html"))
    assert run.elements[0, 0].deck_uri == f"{first.output_dir}/deck.html"
    (again,) = launches(run.tell(TaskFailed(run.now, second.ref, run.now, USER, deck_uri="")))
    assert run.elements[1, 0].deck_uri == ""
    run.tell(TaskFailed(run.now, again.ref, run.now, FATAL, deck_uri="mem://deck"))
    assert run.elements[1, 1].deck_uri == "mem://deck"


def test_frames_of_elements_have_ids_and_folders_of_their_own() -> None:
    """Inner nodes hang on the element, and ids too long for their field are hashed so that none collide."""
    inner = line(task("inner"))
    run = Run(array(inner, picks=True), [7, 8])
    first, second = launches(run.effects)
    assert [first.node_id, second.node_id] == ["n0-0-n0-0-n0", "n0-0-n1-0-n0"]
    assert second.data_dir == "mem://b/p-d-e/n0/data/0/1/0/n0"
    assert first.inputs is not None
    assert literals_pb2.LiteralMap.FromString(first.inputs).literals["x"] == integer(7)
    run.succeed(second, 80)
    run.succeed(first, 70)
    assert run.result == [70, 80]


def test_thousands_of_frames_do_not_share_an_id() -> None:
    """Ids that are too long are hashed to 64 bits there: of 32, a hundred thousand would hardly be apart."""
    inner = line(line(line(task("inner"))))
    run = Run(array(inner, picks=True), list(range(500)), elements_max=500)
    ids = [launch.node_id for launch in launches(run.effects)]
    assert all(len(node_id) <= 20 for node_id in ids)
    assert len(ids) == len(set(ids)) == 500
    assert all(len(node_id) == 14 for node_id in ids if node_id.startswith("f"))


def test_an_array_of_arrays_is_a_list_of_lists() -> None:
    """Each outer element runs an array of its own."""
    inner = array_plan(array())
    spec = array(inner, picks=True)
    settings = Settings(base_uri="mem://b")
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", array_plan(spec), settings)
    lists = literals_pb2.Literal(
        collection=literals_pb2.LiteralCollection(literals=[integers([1, 2]), integers([]), integers([3])])
    )
    effects = step(state, Begin(100.0, {"x": lists.SerializeToString()}))
    attempts = []
    for request in effects.reads:
        assert isinstance(request, OpenArray)
        opened: ArrayInputs = take_apart(request.spec, dict(request.values))
        attempts += launches(step(state, ArrayOpened(100.0, request.ref, opened)))
    for number, launch in enumerate(attempts):
        effects = step(state, TaskSucceeded(101.0, launch.ref, 101.0, {}, outputs(number)))
    assert effects.execution_row is not None
    assert effects.execution_row.outputs is not None
    made = literals_pb2.LiteralMap.FromString(effects.execution_row.outputs).literals["o0"]
    assert [
        [item.scalar.primitive.integer for item in row.collection.literals] for row in made.collection.literals
    ] == [
        [0, 1],
        [],
        [2],
    ]
