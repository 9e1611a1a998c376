"""Room that engines of one machine share: never too many, nothing lost with an engine, turns."""

import random
from itertools import pairwise
from pathlib import Path

import pytest

from wingbeat_propeller.ports.tasks import AttemptOrigin
from wingbeat_propeller.runtimes.local.places import NOTE_S, Places, remove_places


class Machine:
    """A folder, and the clock that its processes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000.0

    def engine(self, capacity: int) -> Places:
        """Another process."""
        return Places(self.folder, capacity, lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An empty machine."""
    return Machine(tmp_path)


def _origin(name: str) -> AttemptOrigin:
    return AttemptOrigin("p", "d", "e", name, 0)


def _take(engine: Places, *names: str) -> list[bool]:
    return [engine.take(name, _origin(name)) for name in names]


def test_no_more_than_there_are_places(machine: Machine) -> None:
    """Engines together take what there is, an attempt takes one place, and a free place can be taken again."""
    first, second = machine.engine(3), machine.engine(3)
    assert _take(first, "a", "b", "a") == [True, True, True]
    assert _take(second, "c", "d") == [True, False]
    assert (first.of_others, second.of_others) == (1, 2)
    first.free(["a"])
    assert _take(second, "d") == [True]
    assert first.recorded() == {name: _origin(name) for name in "bcd"}


def test_places_outlive_their_engine(machine: Machine) -> None:
    """What a killed engine ran keeps its places until an engine that knows its end frees them, adopted or not."""
    _take(machine.engine(2), "a", "b")
    heir = machine.engine(2)
    assert _take(heir, "c") == [False]
    heir.keep({"a": _origin("a")})
    heir.free(["a"])
    assert _take(heir, "c", "d") == [True, False]
    heir.free(["b", "nobody"])
    assert _take(heir, "d") == [True]


def test_attempts_that_run_without_a_place_come_first(machine: Machine) -> None:
    """When less room is given than was before, what runs too many is settled before anything new begins."""
    engine = machine.engine(1)
    engine.keep({"a": _origin("a"), "b": _origin("b")})
    assert _take(engine, "c") == [False]
    engine.free(["a"])
    assert _take(engine, "c") == [False]
    assert set(engine.recorded()) == {"b"}
    engine.free(["b"])
    assert _take(engine, "c") == [True]


def test_fewer_places_than_before(machine: Machine) -> None:
    """Places above the number that there is now count until they are free."""
    _take(machine.engine(3), "a", "b", "c")
    engine = machine.engine(2)
    engine.free(["a"])
    assert _take(engine, "d") == [False]
    engine.free(["b"])
    assert _take(engine, "d", "e") == [True, False]


def test_who_leaves_keeps_the_place_for_the_next(machine: Machine) -> None:
    """An attempt that moves to another engine takes no second place, and goes with that engine's word."""
    first, second = machine.engine(1), machine.engine(1)
    _take(first, "a")
    second.keep({"a": _origin("a")})
    first.leave(["a"])
    assert _take(first, "b") == [False]
    second.free(["a"])
    assert _take(first, "b") == [True]


def test_who_holds_less_goes_first(machine: Machine) -> None:
    """An engine with one attempt gets the next place that comes free, though another has many waiting."""
    crowd, single = machine.engine(2), machine.engine(2)
    assert _take(crowd, "a", "b", "c") == [True, True, False]
    assert _take(single, "s") == [False]
    crowd.free(["a"])
    assert _take(crowd, "c") == [False]
    assert _take(single, "s") == [True]
    single.free(["s"])
    single.rest()
    assert _take(crowd, "c") == [True]


def test_one_place_goes_round(machine: Machine) -> None:
    """Two engines that always have something waiting take turns at a single place."""
    engines = [machine.engine(1), machine.engine(1)]
    order: list[int] = []
    for turn in range(8):
        for number, engine in enumerate(engines):
            if engine.take(f"{number}-{turn}", _origin("x")):
                order.append(number)
                machine.now += 0.1
                holder = (engine, f"{number}-{turn}")
        holder[0].free([holder[1]])
        machine.now += 0.1
    assert order[:2] in ([0, 1], [1, 0])
    assert all(one != other for one, other in pairwise(order))


def test_a_stale_note_holds_nobody_up(machine: Machine) -> None:
    """An engine that asked once and then was killed or stopped is not waited for."""
    crowd, gone = machine.engine(1), machine.engine(1)
    _take(crowd, "a")
    assert _take(gone, "g") == [False]
    crowd.free(["a"])
    assert _take(crowd, "b") == [False]
    machine.now += NOTE_S
    assert _take(crowd, "b") == [True]


def test_nothing_is_left_when_nothing_runs(machine: Machine) -> None:
    """After a stop of all tasks the whole room is free."""
    _take(machine.engine(2), "a", "b", "c")
    remove_places(machine.folder)
    assert _take(machine.engine(2), "d", "e") == [True, True]


@pytest.mark.parametrize("seed", range(20))
def test_engines_that_come_and_go(machine: Machine, seed: int) -> None:
    """Whatever engines do, are killed and adopt, never more attempts have places than there are, and all get theirs."""
    dice = random.Random(seed)
    capacity = dice.randint(1, 4)
    engines = [machine.engine(capacity) for _ in range(3)]
    running: list[dict[str, AttemptOrigin]] = [{} for _ in engines]
    waiting = [[f"{number}-{one}" for one in range(30)] for number in range(3)]
    for _ in range(3_000):
        number = dice.randrange(3)
        machine.now += dice.random() * 0.05
        action = dice.choice(("take", "take", "take", "end", "end", "kill"))
        if action == "take" and waiting[number]:
            name = waiting[number][-1]
            if engines[number].take(name, _origin(name)):
                running[number][waiting[number].pop()] = _origin(name)
        elif action == "take":
            engines[number].rest()
        elif action == "end" and running[number]:
            name = dice.choice(sorted(running[number]))
            del running[number][name]
            engines[number].free([name])
        elif action == "kill" and dice.random() < 0.05:
            heir = (number + 1) % 3
            engines[number] = machine.engine(capacity)
            engines[heir].keep(running[number])
            running[heir] |= running[number]
            running[number] = {}
        assert sum(map(len, running)) <= capacity
    assert not any(waiting), waiting
