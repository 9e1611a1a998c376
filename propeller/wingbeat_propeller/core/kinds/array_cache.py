"""Elements of an array whose outputs may come from the cache, or go there.

They are looked up a page at a time, in the order of their indexes and before their turn: those that are there end at
once and take nobody's room, the others have their turn as ever. So a page costs one question, and an array whose
elements are all there runs none. After a restart those without a row are looked up again.

While others have the reservations of all that would run, the array gives its slot of max_parallelism back, lest the
inner nodes of a holder starve.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wingbeat_propeller.core.array_inputs import element_inputs
from wingbeat_propeller.core.array_run import ElementRun
from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheSource,
    CacheStatus,
    Caching,
    ReservationStatus,
    Result,
)
from wingbeat_propeller.core.effects import Keep, LookUp, LookUpElements, NodeRef, Reserve, Unreserve
from wingbeat_propeller.core.events import ElementsLookedUp, Kept, LookedUp, ReservationHeld, Reserved
from wingbeat_propeller.core.ids import element_name
from wingbeat_propeller.core.walk import ref_of, serialized

if TYPE_CHECKING:
    from wingbeat_propeller.core.kinds.array_elements import Elements

PAGE = 500
"""Elements looked up at once."""
PAGE_BYTES_MAX = 8 << 20
"""Most bytes of inputs in a page, but for one that is larger by itself."""


def look_up_next(elements: "Elements") -> None:
    """Ask for the next page, if none is on its way."""
    array = elements.array
    if array.looking or array.looked_up == array.size:
        return
    calls: list[LookUp] = []
    room = PAGE_BYTES_MAX
    for index in range(array.looked_up, array.size):
        if array.phases[index]:
            continue  # it has a row
        call = _call(elements, index)
        room -= len(call.inputs or b"")
        if calls and (room < 0 or len(calls) == PAGE):
            break
        calls.append(call)
    if calls:
        array.looking = True
        ref = ref_of(elements.frame, elements.run, elements.node)
        elements.walk.effects.reads.append(LookUpElements(ref, calls))
    else:
        array.looked_up = array.size


def looked_up(elements: "Elements", event: ElementsLookedUp) -> None:
    """Take in the answers about a page."""
    array = elements.array
    array.looking = False
    found: list[LookedUp] = []
    for answer in event.answers:
        index = answer.ref.element
        array.looked_up = index + 1
        if array.phases[index]:
            continue
        if answer.status != CacheStatus.HIT:
            array.misses[index] = answer
            continue
        if array.repeats:  # it was not there before the restart
            array.repeats -= 1
            elements.abort(index)
        now = elements.walk.now
        array.under_way[index] = ElementRun(now, started_at=now, cache=Caching(None))
        found.append(answer)
    hit(elements, found)


def hit(elements: "Elements", found: Sequence[LookedUp]) -> None:
    """Elements have succeeded, with what other calls have made."""
    for answer in found:
        index = answer.ref.element
        caching = elements.array.under_way[index].cache
        assert caching is not None, "it was looked up"
        let_go(elements, index)
        caching.status = CacheStatus.HIT
        outputs = elements.outputs_uri(index) if answer.serialized is None else answer.serialized
        elements.succeed(index, outputs, elements.walk.now)
    _note_makers(elements, found)


def _note_makers(elements: "Elements", found: Sequence[LookedUp]) -> None:
    """Say who made the outputs, once for elements that follow each other here and there."""
    node_id, taken = elements.run.node_id, elements.walk.taken_from_cache
    start: CacheSource | None = None
    first = count = 0
    for answer in found:
        index, source = answer.ref.element, answer.source
        if start is not None:
            if source is not None and index == first + count and _follows(start, source, count):
                count += 1
                continue
            taken(node_id, start, first=first, count=count)
        start, first, count = source, index, 1
    if start is not None:
        taken(node_id, start, first=first, count=count)


def _follows(start: CacheSource, source: CacheSource, count: int) -> bool:
    """Whether a source is the element `count` after `start`, made by the same node."""
    return start.element >= 0 and source.element == start.element + count and start[:4] == source[:4]


def begin_cached(elements: "Elements", index: int, element: ElementRun) -> bool:
    """The element's turn has come; returns whether it has to wait for a reservation, or a slot."""
    array, spec = elements.array, elements.spec
    if array.cache is CacheMode.OFF or spec.cached is None:
        return False
    if array.cache is CacheMode.OVERWRITE:
        element.cache = Caching(None, CacheStatus.SKIPPED)
        return False
    miss = array.misses.pop(index)
    element.cache = Caching(None, miss.status, miss.catalog)
    element.cache.waits = spec.cached.serialized and miss.status == CacheStatus.MISS
    if element.cache.waits:
        reserve(elements, index, element.cache)
        return True
    return not take_slot(elements, index, element.cache)


def held(elements: "Elements", index: int, event: ReservationHeld) -> None:
    """Another makes the element's call."""
    caching = elements.array.under_way[index].cache
    assert caching is not None, "it has asked for a reservation"
    elements.array.held += caching.reservation != ReservationStatus.EXISTS
    caching.reservation = ReservationStatus.EXISTS
    caching.holder, caching.held_until = event.owner, event.until


def reserved(elements: "Elements", index: int, event: Reserved) -> bool:
    """The element may run; returns whether there is a slot to do so."""
    caching = elements.array.under_way[index].cache
    assert caching is not None, "it has asked for a reservation"
    elements.array.held -= caching.reservation == ReservationStatus.EXISTS
    caching.waits = False
    caching.reservation = event.status
    return take_slot(elements, index, caching)


def rest(elements: "Elements") -> None:
    """Give the array's slot back if none of its elements would run."""
    if elements.run.counted and elements.array.is_held:
        elements.array.is_resting = True
        elements.walk.release(elements.run)


def take_slot(elements: "Elements", index: int, caching: Caching) -> bool:
    """Whether the array has a slot for the element to run; else the element runs when it has one again."""
    array = elements.array
    if array.is_resting and (array.lacking or not wake(elements)):
        caching.lacks_slot = True
        array.lacking.append(index)
    return not caching.lacks_slot


def wake(elements: "Elements") -> bool:
    """Have the array's slot again, or wait for one."""
    if elements.walk.take_slot(elements.frame, elements.node):
        elements.run.counted = True
        elements.array.is_resting = False
    return elements.run.counted


def resume_cached(elements: "Elements", index: int, element: ElementRun) -> None:
    """After a restart: keep what is reserved alive, put what was being put."""
    caching, task = element.cache, elements.spec.cached
    if caching is None or task is None:
        return
    if caching.result is not None:
        _put(elements, index, caching, caching.result)
    elif task.serialized and caching.status == CacheStatus.MISS:
        caching.reservation = ReservationStatus.ACQUIRED  # as far as is known; without it, nothing is kept alive
        reserve(elements, index, caching, runs=True)


def reserve(elements: "Elements", index: int, caching: Caching, *, runs: bool = False) -> None:
    """Ask for the reservation, or keep it alive."""
    command = Reserve(_call(elements, index), caching.catalog, _owner(elements, index), runs)
    elements.walk.effects.commands.append(command)


def let_go(elements: "Elements", index: int) -> None:
    """Give up the reservation, or the wait for it, once the rows of this step are durable."""
    element = elements.array.under_way.get(index)
    caching = None if element is None else element.cache
    if caching is None or not caching.is_reserving:
        return
    if caching.waits:
        elements.array.held -= caching.reservation == ReservationStatus.EXISTS
    elif caching.lacks_slot:
        elements.array.lacking.remove(index)
    ref = NodeRef(elements.frame.number, elements.node, elements.array.attempts[index], index)
    elements.walk.effects.commands.append(Unreserve(ref, caching.catalog, _owner(elements, index)))
    caching.reservation = ReservationStatus.RELEASED
    caching.waits = caching.lacks_slot = False


def keep(elements: "Elements", index: int, result: Result) -> None:
    """Put what the element came to; it ends when that is answered."""
    caching = elements.array.under_way[index].cache
    assert caching is not None, "only cacheable ones are put"
    caching.result = result
    elements.array.putting += 1
    if elements.array.is_open:  # else as soon as its inputs are known again
        _put(elements, index, caching, result)


def kept(elements: "Elements", index: int, event: Kept) -> Result | None:
    """Returns what the element came to, if it waited for this."""
    element = elements.array.under_way.get(index)
    caching = None if element is None else element.cache
    if caching is None or caching.result is None or elements.array.attempts[index] != event.ref.attempt:
        return None
    result, caching.result = caching.result, None
    elements.array.putting -= 1
    if caching.status != CacheStatus.LOOKUP_FAILURE:
        caching.status = event.status
    let_go(elements, index)
    return result


def _put(elements: "Elements", index: int, caching: Caching, result: Result) -> None:
    uri = result.output_uri or elements.outputs_uri(index)
    overwrite = elements.array.cache is CacheMode.OVERWRITE
    call = _call(elements, index)
    elements.walk.effects.reads.append(Keep(call, result.outputs, uri, elements.run.node_id, overwrite))


def _call(elements: "Elements", index: int) -> LookUp:
    array, task = elements.array, elements.spec.cached
    assert task is not None, "only cacheable ones are looked up"
    ref = NodeRef(elements.frame.number, elements.node, array.attempts[index], index)
    inputs = serialized(element_inputs(array.inputs, index))
    return LookUp(ref, task, inputs, "", elements.outputs_uri(index))


def _owner(elements: "Elements", index: int) -> str:
    """One for all attempts of the element."""
    return element_name(elements.run.generated_name, index, 0)
