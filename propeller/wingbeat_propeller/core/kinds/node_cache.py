"""Nodes whose outputs may come from the cache, or go there: tasks and sub-workflows, before they begin and after them.

Such a node is looked up before it has a row, and ends with a hit without anything else. Of serialized calls one runs at
a time: the node is queued, asks for the reservation, and gives its slot of max_parallelism back while another has it,
lest the inner nodes of a holder starve. What it came to is put before its end is recorded.
"""

from abc import abstractmethod
from dataclasses import dataclass

from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import CacheMode, CacheStatus, Caching, ReservationStatus, Result
from wingbeat_propeller.core.effects import Keep, LookUp, Reserve, Unreserve
from wingbeat_propeller.core.events import CacheEvent, Kept, LookedUp, ReservationHeld, Reserved
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.state import Frame, NodeRun, Settings, Stage
from wingbeat_propeller.core.values import Value
from wingbeat_propeller.core.waiting.view import View, moment
from wingbeat_propeller.core.walk import Walk, ref_of
from wingbeatidl.query.v1 import why_pb2


def new_caching(settings: Settings, cached: CachedTask | None, inputs: bytes | None) -> Caching | None:
    """What a call begins with of what the cache knows as `cached`; None: the cache has nothing to do with it."""
    if cached is None or settings.cache is CacheMode.OFF:
        return None
    skips = settings.cache is CacheMode.OVERWRITE
    return Caching(inputs, CacheStatus.SKIPPED if skips else CacheStatus.MISS)


@dataclass(frozen=True, slots=True)
class CachedNode:
    """One such node under way, for the time of a step."""

    walk: Walk
    frame: Frame
    run: NodeRun
    node: int
    caching: Caching

    def look_up(self) -> bool:
        """Ask whether the call was made before; returns whether there is an answer to wait for."""
        if self.caching.status == CacheStatus.SKIPPED:
            return False
        self.run.stage = Stage.LOOKING
        self.walk.effects.reads.append(self._call())
        return True

    def hit(self, found: LookedUp) -> None:
        """The node has succeeded, with what another has made."""
        run, caching = self.run, self.caching
        inputs = caching.inputs if run.stage is Stage.LOOKING else None
        run.stage = Stage.ACTIVE
        if run.started_at is None:
            run.started_at = self.walk.now
        self.let_go()
        caching.status, caching.catalog = CacheStatus.HIT, found.catalog
        if found.source is not None:
            self.walk.taken_from_cache(run.node_id, found.source)
        self.walk.succeed(
            self.frame,
            run,
            self.node,
            dict(found.values),
            outputs=found.serialized,
            output_uri=None if found.serialized is not None else self._outputs_uri(),
            inputs=inputs,
            input_uri=None if caching.inputs is not None else self._inputs_uri(),
        )

    def missed(self, found: LookedUp) -> bool:
        """It must be made; returns whether it has to wait for a reservation."""
        caching = self.caching
        self.run.stage = Stage.ACTIVE
        caching.status, caching.catalog = found.status, found.catalog
        caching.waits = self._cached().serialized and caching.status == CacheStatus.MISS
        return caching.waits

    def queue(self) -> None:
        """The node is queued, and asks for the reservation."""
        self.run.phase = NodePhase.QUEUED
        self.walk.node_row(self.frame, self.run, self.node, inputs=self.caching.inputs, input_uri=self._inputs_uri())
        self.reserve()
        self.walk.timers(self.frame, self.run, self.node)

    def reserve(self, *, runs: bool = False) -> None:
        """Ask for the reservation; `runs`: it is to be kept alive, after a restart."""
        self.walk.effects.commands.append(Reserve(self._call(), self.caching.catalog, self._owner(), runs))

    def held(self, event: ReservationHeld) -> None:
        """Another makes the call: the slot of max_parallelism is free meanwhile."""
        caching = self.caching
        is_news = caching.reservation != ReservationStatus.EXISTS
        caching.holder, caching.held_until = event.owner, event.until
        caching.reservation = ReservationStatus.EXISTS
        if is_news:
            self.walk.node_row(self.frame, self.run, self.node)
            self.walk.release(self.run)

    def reserved(self, event: Reserved) -> bool:
        """The node may run; returns whether it has a slot to do so."""
        caching = self.caching
        caching.waits = False
        caching.reservation = event.status
        return self.take_slot()

    def take_slot(self) -> bool:
        """Have a slot of max_parallelism again, or wait for one."""
        run, caching = self.run, self.caching
        caching.lacks_slot = False
        plan = self.frame.plan
        if run.counted or not (plan.is_counted and self.walk.kinds[plan.kinds[self.node]].counts):
            return True
        run.counted = self.walk.take_slot(self.frame, self.node)
        caching.lacks_slot = not run.counted
        return run.counted

    def keep(self, result: Result) -> None:
        """Put what the node came to; it ends when that is answered."""
        self.caching.result = result
        uri = result.output_uri or self._outputs_uri()
        overwrite = self.walk.state.settings.cache is CacheMode.OVERWRITE
        self.walk.effects.reads.append(Keep(self._call(), result.outputs, uri, self.run.node_id, overwrite))

    def kept(self, event: Kept) -> Result | None:
        """Returns what the node came to, if it waited for this."""
        caching = self.caching
        result, caching.result = caching.result, None
        if result is not None:
            if caching.status != CacheStatus.LOOKUP_FAILURE:
                caching.status = event.status
            caching.catalog = event.catalog or caching.catalog
            self.let_go()
        return result

    def let_go(self) -> None:
        """Give the reservation up, or the wait for it, once the rows of this step are durable."""
        caching = self.caching
        if not caching.is_reserving:
            return
        self.walk.effects.commands.append(Unreserve(self._call().ref, caching.catalog, self._owner()))
        had_it = caching.reservation == ReservationStatus.ACQUIRED
        caching.reservation = ReservationStatus.RELEASED if had_it else ReservationStatus.DISABLED
        caching.waits = caching.lacks_slot = False

    def _call(self) -> LookUp:
        ref = ref_of(self.frame, self.run, self.node)
        return LookUp(ref, self._cached(), self.caching.inputs, self._inputs_uri(), self._outputs_uri())

    def _cached(self) -> CachedTask:
        cached = self.frame.plan.cached(self.node)
        assert cached is not None, "only cacheable nodes come here"
        return cached

    def _owner(self) -> str:
        """One for all attempts: the next one goes on with what the one before has reserved."""
        return generated_name(self.walk.state.name, self.run.node_id, 0)

    def _inputs_uri(self) -> str:
        return f"{self.run.data_dir}/inputs.pb"

    def _outputs_uri(self) -> str:
        return f"{self.run.output_dir}/outputs.pb"


def cached_node(walk: Walk, frame: Frame, run: NodeRun, node: int) -> CachedNode | None:
    """None: the cache has nothing to do with the node."""
    return None if run.cache is None else CachedNode(walk, frame, run, node, run.cache)


class CachedKind(Kind):
    """Kinds of nodes that the cache may have the outputs of."""

    @abstractmethod
    def begin(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """The node is to run, and has no row yet. `inputs` as of `enter`."""

    @abstractmethod
    def begin_reserved(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """The node is to run, and was queued until now."""

    @abstractmethod
    def end(self, walk: Walk, frame: Frame, run: NodeRun, node: int, result: Result) -> None:
        """The node has succeeded."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Begin, unless the outputs may be in the cache."""
        cached = frame.plan.cached(node)
        if cached is not None:
            run.cache = new_caching(walk.state.settings, cached, inputs)
            call = cached_node(walk, frame, run, node)
            if call is not None and call.look_up():
                return
        self.begin(walk, frame, run, node, inputs)

    def cache_answered(self, walk: Walk, frame: Frame, run: NodeRun, event: CacheEvent) -> None:
        """End with what is there, or run, or end with what was put there."""
        node = event.ref.node
        call = cached_node(walk, frame, run, node)
        if call is None:
            return
        caching, is_looking = call.caching, run.stage is Stage.LOOKING
        match event:
            case LookedUp() if event.status == CacheStatus.HIT and (is_looking or caching.waits):
                call.hit(event)
            case LookedUp() if is_looking and call.missed(event):
                call.queue()
            case LookedUp() if is_looking:
                self.begin(walk, frame, run, node, caching.inputs)
            case ReservationHeld() if caching.waits:
                call.held(event)
            case Reserved() if caching.waits and call.reserved(event):
                self.begin_reserved(walk, frame, run, node, caching.inputs)
            case Kept() if (result := call.kept(event)) is not None:
                self.end(walk, frame, run, node, result)
            case _:
                pass

    def called_in(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """It has its reservation: run, if there is a slot again."""
        call = cached_node(walk, frame, run, node)
        if call is not None and call.caching.lacks_slot and call.take_slot():
            self.begin_reserved(walk, frame, run, node, call.caching.inputs)

    def close(self, walk: Walk, frame: Frame, node: int) -> None:
        """Let the reservation go."""
        run = frame.runs.get(node)
        call = None if run is None else cached_node(walk, frame, run, node)
        if call is not None:
            call.let_go()

    def child_succeeded(
        self,
        walk: Walk,
        frame: Frame,
        run: NodeRun,
        node: int,
        child: Frame,
        values: dict[str, Value],
        outputs: bytes | None,
        output_uri: str | None,
    ) -> None:
        """The node has succeeded with what the workflow inside it came to, and ends once that is put."""
        self.succeeded(walk, frame, run, node, Result(walk.now, values, outputs, output_uri, of_frame=True))

    def succeeded(self, walk: Walk, frame: Frame, run: NodeRun, node: int, result: Result) -> None:
        """The node has come to `result`: put that first if the cache has to do with it."""
        call = cached_node(walk, frame, run, node)
        if call is None:
            self.end(walk, frame, run, node, result)
        else:
            call.keep(result)


def explain_cached(
    view: View, frame: Frame, run: NodeRun, node: int, caching: Caching, answer: why_pb2.NodeAnswer
) -> bool:
    """Say what a node waits for in the cache; returns whether it does."""
    if caching.lacks_slot:
        answer.standing = why_pb2.STANDING_HELD
        answer.reasons.add(parallelism=view.parallelism(view.held().get((frame.number, node), 0)))
    elif caching.waits:
        answer.standing = why_pb2.STANDING_WAITING
        until = None if caching.held_until is None else moment(caching.held_until)
        answer.reasons.add(reservation=why_pb2.Reservation(owner=caching.holder, lapses=until))
    else:
        return False
    return True


def has_waited(frame: Frame, run: NodeRun, node: int, caching: Caching) -> bool:
    """Whether a node that is taken up after a restart has not begun for want of a reservation."""
    cached = frame.plan.cached(node)
    return (
        cached is not None
        and cached.serialized
        and run.phase == NodePhase.QUEUED
        and run.attempt == 0
        and caching.status == CacheStatus.MISS
        and caching.reservation in (ReservationStatus.DISABLED, ReservationStatus.EXISTS)
    )
