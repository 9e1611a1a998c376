"""Cacheable tasks in the state machine: look-ups, puts, and restarts between any two of their steps."""

import dataclasses

import pytest
from flyteidl.core import catalog_pb2
from flyteidl.event import event_pb2
from tests.unit.core.arrays import launches
from tests.unit.core.caching import (
    CATALOG,
    INPUTS,
    OUT,
    VALUES,
    answer_to,
    begin,
    cached,
    look_ups_of,
    metadata_of,
    only_row,
    restart,
    state_of,
)
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheSource,
    CacheStatus,
    Caching,
    ReservationStatus,
    dynamic_details,
)
from wingbeat_propeller.core.effects import (
    Effects,
    Keep,
    NodeRef,
    Recall,
)
from wingbeat_propeller.core.events import (
    Begin,
    Kept,
    LookedUp,
    Recalled,
    TaskBecameDynamic,
    TaskFailed,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.reuse import ALL
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, LineageKind, LineageRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState
from wingbeat_propeller.core.step import step


def _dynamic(state: ExecutionState, launch_ref: NodeRef, plan: Plan) -> Effects:
    return step(state, TaskBecameDynamic(102.0, launch_ref, 102.0, plan, b"", "mem://f/futures.pb"))


def test_a_hit_ends_the_node_without_an_attempt() -> None:
    """One row, SUCCEEDED with the outputs, the status and the key; no task row, no command."""
    state, effects = begin(line(cached()))
    (call,) = look_ups_of(effects)
    assert not [row for row in effects.nodes if row.node_id == "n0"]
    effects = step(state, answer_to(call.ref, CacheStatus.HIT))
    row = only_row(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert row.inputs is not None
    assert metadata_of(row).catalog_key.artifact_tag.name == "flyte_cached-x"
    assert (effects.tasks, effects.commands, state.phase) == ([], [], ExecutionPhase.SUCCEEDED)


def test_a_hit_tells_who_made_the_outputs() -> None:
    """What ties the node to another execution is written with its row, once; of a foreign entry nobody can tell."""
    state, effects = begin(line(cached()))
    (call,) = look_ups_of(effects)
    source = CacheSource("p", "d", "other", "m0", 2, 4, "v")
    effects = step(state, answer_to(call.ref, CacheStatus.HIT)._replace(source=source))
    assert effects.lineage == [
        LineageRow(LineageKind.CACHED, state.key, "n0", token="p:d:other", source_node_id="m0", source_first=4)
    ]
    state, effects = begin(line(cached()))
    assert step(state, answer_to(look_ups_of(effects)[0].ref, CacheStatus.HIT)).lineage == []


def test_large_outputs_of_a_hit_stay_where_they_are() -> None:
    """The row says where they stand."""
    state, effects = begin(line(cached()))
    (call,) = look_ups_of(effects)
    row = only_row(step(state, LookedUp(101.0, call.ref, CacheStatus.HIT, CATALOG, dict(VALUES))))
    assert (row.outputs, row.output_uri) == (None, call.outputs_uri)


def test_a_miss_runs_and_is_put_before_the_node_ends() -> None:
    """Nothing of the end is written before the put is answered; then status and key are."""
    state, effects = begin(line(cached()))
    effects = step(state, answer_to(look_ups_of(effects)[0].ref, CacheStatus.MISS))
    row = only_row(effects)
    assert (row.phase, row.cache_status) == (NodePhase.QUEUED, CacheStatus.MISS)
    (launch,) = launches(effects)
    effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    (keep,) = effects.reads
    assert isinstance(keep, Keep)
    assert (keep.outputs, keep.overwrite, keep.call.inputs, effects.writes) == (OUT, False, launch.inputs, False)
    effects = step(state, Kept(103.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    row = only_row(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.POPULATED, OUT)
    assert effects.ended == [launch.name]
    assert effects.tasks[0].phase == TaskPhase.SUCCEEDED


@pytest.mark.parametrize(
    ("looked", "put", "shown"),
    [
        (CacheStatus.MISS, CacheStatus.PUT_FAILURE, CacheStatus.PUT_FAILURE),
        (CacheStatus.LOOKUP_FAILURE, CacheStatus.POPULATED, CacheStatus.LOOKUP_FAILURE),
    ],
)
def test_failures_of_the_cache_fail_no_node(looked: CacheStatus, put: CacheStatus, shown: CacheStatus) -> None:
    """The task runs and succeeds; the status tells of the failure."""
    state, effects = begin(line(cached()))
    (launch,) = launches(step(state, answer_to(look_ups_of(effects)[0].ref, looked)))
    step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    row = only_row(step(state, Kept(103.0, launch.ref, put, b"")))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, shown)


def test_overwrite_runs_without_a_question_and_replaces() -> None:
    """SKIPPED while it runs; what comes of it is put over what is there."""
    state, effects = begin(line(cached()), mode=CacheMode.OVERWRITE)
    assert not effects.reads
    assert only_row(effects).cache_status == CacheStatus.SKIPPED
    (launch,) = launches(effects)
    (keep,) = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert keep.overwrite


def test_a_cache_that_is_off_is_not_asked() -> None:
    """Neither before nor after; the status is DISABLED."""
    state, effects = begin(line(cached(serialized=True)), mode=CacheMode.OFF)
    (launch,) = launches(effects)
    effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    assert (only_row(effects).cache_status, effects.reads, effects.commands) == (CacheStatus.DISABLED, [], [])


def test_a_restart_asks_again_for_what_was_looked_up_or_put() -> None:
    """A node that was looked up has no row; the attempt of one that was put is asked for again."""
    state, begun = begin(line(cached()))
    again, effects = restart(state, begun)
    (call,) = look_ups_of(effects)
    missed = step(again, answer_to(call.ref, CacheStatus.MISS))
    (launch,) = launches(missed)
    step(again, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    third, effects = restart(state, begun, missed)
    assert [one.name for one in effects.adopt] == [launch.name]
    (keep,) = step(third, TaskSucceeded(103.0, launch.ref, 102.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert keep.call.inputs == launch.inputs
    assert only_row(step(third, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))).phase == NodePhase.SUCCEEDED


def test_what_ended_in_time_does_not_expire_while_it_is_put() -> None:
    """Neither deadline, nor a doubled event, changes anything."""
    state, effects = begin(line(cached(), timeout_s=10.0))
    (launch,) = launches(step(state, answer_to(look_ups_of(effects)[0].ref, CacheStatus.MISS)))
    step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    failure = Failure(ErrorKind.USER, "E", "no")
    for event in (
        TimerFired(120.0, launch.ref, TimerKind.ATTEMPT),
        TimerFired(120.0, launch.ref, TimerKind.NODE),
        TaskSucceeded(120.0, launch.ref, 102.0, dict(VALUES), OUT),
        TaskFailed(120.0, launch.ref, 102.0, failure),
    ):
        effects = step(state, event)
        assert (effects.writes, effects.commands, effects.reads) == (False, [], [])
    assert only_row(step(state, Kept(121.0, launch.ref, CacheStatus.POPULATED, b""))).phase == NodePhase.SUCCEEDED


def test_the_final_outputs_of_a_dynamic_task_are_put() -> None:
    """Not those of its attempt; and after a restart in between they are put again."""
    state, begun = begin(line(cached()))
    missed = step(state, answer_to(look_ups_of(begun)[0].ref, CacheStatus.MISS))
    (launch,) = launches(missed)
    made = dataclasses.replace(
        line(task("inner")), bindings=(line(task("i")).bindings[0], line(task("i")).bindings[1], line().bindings[0])
    )
    became = _dynamic(state, launch.ref, made)
    assert not became.reads
    (inner,) = launches(became)
    ended = step(state, TaskSucceeded(103.0, inner.ref, 103.0, dict(VALUES), OUT))
    (keep,) = ended.reads
    assert isinstance(keep, Keep)
    assert (keep.node_id, keep.outputs) == ("n0", OUT)
    assert not [row for row in ended.nodes if row.node_id == "n0"]

    rows: dict[str, NodeRow] = {}
    for effects in (begun, missed, became, ended):
        for row in effects.nodes:
            if (before := rows.get(row.node_id)) is not None:
                row.details, row.inputs = row.details or before.details, row.inputs or before.inputs
            rows[row.node_id] = row
    again = ExecutionState(state.key, "p", "d", "e", state.plan, state.settings)
    ordered = sorted(rows.values(), key=lambda row: row.seq)
    effects = rebuild(again, ordered, dict(INPUTS), started_at=1.0, now=2.0, dynamic_plans={("n0", 0): made})
    (repeated,) = effects.reads
    assert isinstance(repeated, Keep)
    assert (repeated.outputs, repeated.call.inputs) == (keep.outputs, keep.call.inputs)
    row = only_row(step(again, Kept(104.0, NodeRef(0, 2, 0), CacheStatus.POPULATED, CATALOG)))
    assert (row.phase, row.outputs, row.cache_status) == (NodePhase.SUCCEEDED, OUT, CacheStatus.POPULATED)
    metadata = metadata_of(row)
    assert metadata.dynamic_workflow.dynamic_job_spec_uri == "mem://f/futures.pb"
    assert metadata.catalog_key.artifact_tag.name == "flyte_cached-x"


def test_details_are_the_message_that_readers_parse() -> None:
    """What is put together by hand is what the protobuf library would write, merged."""
    workflow = event_pb2.DynamicWorkflowNodeMetadata(dynamic_job_spec_uri="mem://f")
    caching = Caching(None, catalog=CATALOG, reservation=ReservationStatus.EXISTS, dynamic=dynamic_details(workflow))
    metadata = event_pb2.NodeExecutionEvent.FromString(caching.details() or b"").task_node_metadata
    assert metadata == event_pb2.TaskNodeMetadata(
        catalog_key=catalog_pb2.CatalogMetadata.FromString(CATALOG),
        reservation_status=catalog_pb2.CatalogReservation.RESERVATION_EXISTS,
        dynamic_workflow=workflow,
    )
    assert Caching(None).details() is None


def test_a_recovered_dynamic_task_puts_what_its_workflow_comes_to() -> None:
    """Its attempt does not run again, and its call is known from the inputs of then."""
    state = state_of(line(cached()))
    state.reuse = ALL
    effects = step(state, Begin(100.0, dict(INPUTS)))
    (recall,) = effects.reads
    assert isinstance(recall, Recall)
    workflow = event_pb2.DynamicWorkflowNodeMetadata(dynamic_job_spec_uri="mem://f/futures.pb")
    source = NodeRow(
        *(ExecutionKey(9), "n0", 3, "n0", None, None, "n0", 2, FLAG_DYNAMIC, NodePhase.FAILED, 0, 0, 1.0, 2.0),
        inputs=b"\x0a\x07\x0a\x01x\x12\x02\x0a\x00",
        details=dynamic_details(workflow),
        cache_status=CacheStatus.MISS,
    )
    made = dataclasses.replace(line(task("inner")), bindings=line(task("inner")).bindings)
    made = dataclasses.replace(made, bindings=(made.bindings[0], made.bindings[1], BindingProgram()))
    effects = step(state, Recalled(101.0, recall.ref, source, None, made, None))
    (inner,) = launches(effects)
    (keep,) = step(state, TaskSucceeded(103.0, inner.ref, 103.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert (keep.call.inputs, keep.outputs) == (source.inputs, OUT)
    row = only_row(step(state, Kept(104.0, keep.call.ref, CacheStatus.POPULATED, CATALOG)))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, CacheStatus.POPULATED)
