"""Elements of map tasks that are looked up and put."""

from tests.unit.core.arrays import integers, launches, outputs
from tests.unit.core.caching import CATALOG, answers_to, begin_array, page_of, restart

from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheSource,
    CacheStatus,
    ReservationStatus,
)
from wingbeat_propeller.core.effects import (
    Abort,
    Keep,
    Reserve,
    Unreserve,
)
from wingbeat_propeller.core.events import (
    Kept,
    LookedUp,
    ReservationHeld,
    Reserved,
    TaskStarted,
    TaskSucceeded,
)
from wingbeat_propeller.core.phases import ExecutionPhase, TaskPhase
from wingbeat_propeller.core.rows import LineageKind
from wingbeat_propeller.core.step import step


def test_elements_are_looked_up_in_one_question_and_only_the_others_run() -> None:
    """Those that are there end at once, with their outputs in their places."""
    state, effects = begin_array()
    page = page_of(effects)
    assert len({call.inputs for call in page.calls}) == 6
    effects = step(state, answers_to(page, {0, 1, 3, 5}))
    assert {row.element: (row.phase, row.cache_status) for row in effects.elements} == dict.fromkeys(
        (0, 1, 3, 5), (TaskPhase.SUCCEEDED, CacheStatus.HIT)
    )
    attempts = launches(effects)
    assert [launch.ref.element for launch in attempts] == [2, 4]
    for launch in attempts:
        (keep,) = step(state, TaskSucceeded(102.0, launch.ref, 102.0, {}, outputs(launch.ref.element))).reads
        assert isinstance(keep, Keep)
        assert keep.call.inputs == page.calls[launch.ref.element].inputs
        effects = step(state, Kept(103.0, launch.ref, CacheStatus.POPULATED, CATALOG))
        assert effects.elements[0].cache_status == CacheStatus.POPULATED
    assert state.phase == ExecutionPhase.SUCCEEDED
    row = next(row for row in effects.nodes if row.node_id == "n0")
    assert row.outputs is not None
    assert integers(range(6)).SerializeToString() in row.outputs


def test_elements_tell_who_made_their_outputs() -> None:
    """One row for elements that follow each other in both arrays; a node that is no array has no elements to follow."""
    state, effects = begin_array()
    page = page_of(effects)
    event = answers_to(page, {0, 1, 2, 4, 5})
    places = {0: ("other", "m0", 7), 1: ("other", "m0", 8), 2: ("third", "m0", 9), 4: ("other", "m1", -1)}
    answers = [
        answer._replace(source=CacheSource("p", "d", place[0], place[1], 0, place[2], "v"))
        if (place := places.get(answer.ref.element))
        else answer
        for answer in event.answers
    ]
    effects = step(state, event._replace(answers=answers))
    assert [
        (row.token, row.source_node_id, row.first, row.run_length, row.source_first) for row in effects.lineage
    ] == [
        ("p:d:other", "m0", 0, 2, 7),
        ("p:d:third", "m0", 2, 1, 9),
        ("p:d:other", "m1", 4, 1, -1),
    ]
    assert {(row.kind, row.node_id) for row in effects.lineage} == {(LineageKind.CACHED, "n0")}


def test_an_array_that_is_wholly_there_runs_nothing() -> None:
    """No element is launched, and the node succeeds."""
    state, effects = begin_array()
    effects = step(state, answers_to(page_of(effects), set(range(6))))
    assert (launches(effects), state.phase) == ([], ExecutionPhase.SUCCEEDED)


def test_a_restarted_array_asks_again_for_elements_without_rows() -> None:
    """Those that may have run are asked for; one that has come to be there meanwhile is aborted, should it run."""
    state, begun = begin_array()
    missed = step(state, answers_to(page_of(begun), {0}))
    assert [launch.ref.element for launch in launches(missed)] == [1, 2, 3, 4]
    started = step(state, TaskStarted(102.0, launches(missed)[0].ref, 102.0))
    again, effects = restart(state, begun, missed, started, elements=True)
    assert [launch.ref.element for launch in effects.adopt] == [1]
    page = page_of(effects)
    assert [call.ref.element for call in page.calls] == [2, 3, 4, 5]
    effects = step(again, answers_to(page, {2}))
    assert [command.ref.element for command in effects.commands if isinstance(command, Abort)] == [2]
    assert {launch.ref.element: launch.is_repeat for launch in launches(effects)} == {3: True, 4: True, 5: True}


def test_elements_of_a_serialized_task_wait_for_each_other() -> None:
    """One that waits begins with the reservation, or ends with what the other has made."""
    state, effects = begin_array(serialized=True)
    effects = step(state, answers_to(page_of(effects), set()))
    commands = [command for command in effects.commands if isinstance(command, Reserve)]
    assert [command.call.ref.element for command in commands] == [0, 1, 2, 3]
    assert len({command.owner for command in commands}) == 4
    (launch,) = launches(step(state, Reserved(102.0, commands[0].call.ref, ReservationStatus.ACQUIRED)))
    assert not step(state, ReservationHeld(102.0, commands[1].call.ref, "other", 130.0)).commands
    effects = step(state, LookedUp(103.0, commands[1].call.ref, CacheStatus.HIT, CATALOG, {}, outputs(1)))
    assert effects.elements[0].cache_status == CacheStatus.HIT
    assert Unreserve(commands[1].call.ref, CATALOG, commands[1].owner) in effects.commands
    step(state, TaskSucceeded(104.0, launch.ref, 104.0, {}, outputs(0)))
    effects = step(state, Kept(105.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert Unreserve(launch.ref, CATALOG, commands[0].owner) in effects.commands


def test_elements_overwrite_without_a_question() -> None:
    """All of them run at once, and what comes of them replaces what is there."""
    state, effects = begin_array(mode=CacheMode.OVERWRITE)
    (first, *_) = launches(effects)
    (keep,) = step(state, TaskSucceeded(102.0, first.ref, 102.0, {}, outputs(0))).reads
    assert isinstance(keep, Keep)
    assert keep.overwrite
    effects = step(state, Kept(103.0, first.ref, CacheStatus.POPULATED, b""))
    assert effects.elements[0].cache_status == CacheStatus.POPULATED
