# ruff: noqa: B027 - a kind takes part in few of these
"""What the state machine asks of each kind of node.

A kind is stateless: what it remembers stands in the NodeRun and its frame. Everything here is called inside one step,
with the node's run in the frame, and may move nodes only by the methods of the Walk it is given. Handlers of events are
called for the attempt that the event names, once it is known to be under way. `explain` and `inside` only look.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from wingbeat_propeller.core.effects import NodeRef
from wingbeat_propeller.core.events import (
    ArrayOpened,
    CacheEvent,
    ChildEnded,
    ChildStarted,
    ElementsRecalled,
    Gathered,
    SignalReceived,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.reuse import Reuse
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value
from wingbeat_propeller.core.waiting.view import Place, View
from wingbeat_propeller.core.walk import Walk
from wingbeatidl.query.v1 import why_pb2


class Kind(ABC):
    """Behaviour of the nodes of one kind; by itself one that takes part in nothing."""

    counts = False
    """Whether such a node takes a slot of max_parallelism."""

    @abstractmethod
    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """The node's inputs are there: begin. `inputs` is the same as `values`, serialized, for the row; None: they are
        large and stand in the blob store already (for the end node in its outputs.pb, else in its inputs.pb)."""

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """The node ends from outside (abort, deadline, failure elsewhere): stop what runs for it, record the end of its
        attempt. Its own row is the caller's."""

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """After a restart, with all frames rebuilt: take up what was under way. `inputs` as stored in the row."""

    def restore(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow
    ) -> Frame | Sequence[Frame] | None:
        """Rebuild what belongs to a node under way from its row; returns the frame that its inner rows belong to, or
        the frames of its elements, each of which has inner rows of its own."""
        return None

    def close(self, walk: Walk, frame: Frame, node: int) -> None:
        """The node ends or is skipped, for whatever reason: let go of what it kept from ending."""

    def expire(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        """The attempt has run for its timeout; what ran for it was not stopped yet."""
        self.stop(walk, frame, run, node, failure.message)
        walk.fail(frame, run, node, failure)

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
        """The frame `child` inside the node has succeeded: so has the node, with the frame's outputs."""
        walk.succeed(frame, run, node, values, outputs=outputs, output_uri=output_uri)

    def child_failed(self, walk: Walk, frame: Frame, run: NodeRun, node: int, child: Frame, failure: Failure) -> None:
        """The frame `child` inside the node has failed: so has the node, for good."""
        walk.fail(frame, run, node, failure)

    def answered(
        self, walk: Walk, frame: Frame, run: NodeRun, event: ArrayOpened | Gathered | ElementsRecalled
    ) -> None:
        """What the node under way asked to be read or stored."""

    def cache_answered(self, walk: Walk, frame: Frame, run: NodeRun, event: CacheEvent) -> None:
        """What the cache knows of the node, or of elements of it, or has been told."""

    def called_in(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """A node that had given its slot of max_parallelism back, and waits in line, may have one again."""

    def unanswered(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        """That cannot be read or stored."""

    def woken(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """The time has come that the node waited for."""

    def task_started(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskStarted) -> None:
        """First or renewed sign of life of an attempt."""

    def task_succeeded(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskSucceeded) -> None:
        """An attempt is done and its outputs are known."""

    def task_became_dynamic(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskBecameDynamic) -> None:
        """An attempt has made a workflow that is to run in its place."""

    def task_failed(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskFailed) -> None:
        """An attempt has failed."""

    def inherits(self, row: NodeRow, checkpoint: str | None) -> str | None:
        """What a node that runs goes on from that its namesake left in the execution that is recovered: `row`, and the
        folder with its newest checkpoint. Written down as `NodeRun.inherited`."""
        return None

    def go_on(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, source: NodeRow, plan: Plan, reuse: Reuse | None
    ) -> bool:
        """The node goes on where its namesake in the execution that is recovered was, `source`: with `plan` running
        inside it, of which `reuse` may be taken over. False: nodes of this kind do not, and this one begins anew."""
        return False

    def retry(self, walk: Walk, frame: Frame, run: NodeRun, ref: NodeRef) -> None:
        """The pause before the attempt that `ref` names is over."""

    def child_started(self, walk: Walk, frame: Frame, run: NodeRun, event: ChildStarted) -> None:
        """The execution that the node launched exists."""

    def child_ended(self, walk: Walk, frame: Frame, run: NodeRun, event: ChildEnded) -> None:
        """The execution that the node launched has ended."""

    def signal_received(self, walk: Walk, frame: Frame, run: NodeRun, event: SignalReceived) -> None:
        """The signal that the node waits for has a value."""

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """Say where a node under way stands and what it waits for outside of the execution's own nodes."""
        answer.standing = why_pb2.STANDING_RUNNING

    def inside(self, view: View, frame: Frame, run: NodeRun, node: int) -> Iterable[Place]:
        """Nodes inside a node under way whose end it waits for, those that are under way or held."""
        child = view.state.frames.get(run.child) if run.child is not None else None
        return () if child is None else view.live_in(child)
