"""Sentences of a WhyResponse, from its structured parts alone: a person can act on them, a program need not read them.

A reason is a sentence of its own; a node's sentence says where the node stands and repeats its reasons; the answer's
sentence says the first thing that a person wants to know. Pure.
"""

from collections.abc import Callable
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp

from wingbeat_controlplane.executions.why import words
from wingbeatidl.query.v1 import identity_pb2, why_pb2

ROOTS_MAX = 3
"""Root causes that the answer's own sentence tells."""

_BEGIN_WITH_NAMES = frozenset({"dependency", "inner", "tenant_limit", "ruled_out"})

_Execution = identity_pb2.ExecutionIdentifier


def write_sentences(answer: why_pb2.WhyResponse, execution: _Execution) -> None:
    """Fill every `sentence` of the answer."""
    now = answer.as_of
    for reason in answer.reasons:
        reason.sentence = _alone(reason, _reason(reason, now, execution))
    for node in answer.nodes:
        texts = [_reason(reason, now, execution) for reason in node.reasons]
        for reason, text in zip(node.reasons, texts, strict=True):
            reason.sentence = _alone(reason, text)
        node.sentence = _node(node, texts, now)
    answer.sentence = _whole(answer, execution)


def _alone(reason: why_pb2.Reason, text: str) -> str:
    """A reason as a sentence of its own; ids and names at its beginning stay as they are."""
    return f"{text}." if reason.WhichOneof("reason") in _BEGIN_WITH_NAMES else f"{text[0].upper()}{text[1:]}."


def _node(node: why_pb2.NodeAnswer, reasons: list[str], now: Timestamp) -> str:
    name = words.label(node.node_id, node.name)
    details = "; ".join(reasons)
    colon = f": {details}" if details else ""
    match node.standing:
        case why_pb2.STANDING_NOT_REACHED:
            return f"{name} waits{colon}."
        case why_pb2.STANDING_HELD:
            return f"{name} is ready and waits{colon}."
        case why_pb2.STANDING_PREPARING:
            return f"{name} is about to begin{colon}."
        case why_pb2.STANDING_QUEUED if any(reason.HasField("elements") for reason in node.reasons):
            return f"{name} waits{colon}."
        case why_pb2.STANDING_QUEUED:
            return f"{name} is ready, and {_attempt(node)} of it waits{colon}."
        case why_pb2.STANDING_STARTING:
            return f"{name} is starting{colon}."
        case why_pb2.STANDING_RUNNING:
            return f"{name} is running{colon}{_deadline(node, now)}."
        case why_pb2.STANDING_WAITING:
            return f"{name} waits{colon}{_deadline(node, now)}."
        case why_pb2.STANDING_ENDED:
            return f"{name} {_ENDS.get(node.phase, 'has ended')}{colon}."
        case why_pb2.STANDING_READY:
            return f"{name} is ready{colon}." if reasons else f"{name} is ready, and begins at any moment."
        case why_pb2.STANDING_RULED_OUT:
            return f"{name} will not run{colon}."
        case _:
            return f"{name}{colon}."


_ENDS = {
    identity_pb2.NODE_PHASE_SUCCEEDED: "has succeeded",
    identity_pb2.NODE_PHASE_FAILED: "has failed",
    identity_pb2.NODE_PHASE_ABORTED: "was aborted",
    identity_pb2.NODE_PHASE_SKIPPED: "was skipped",
    identity_pb2.NODE_PHASE_TIMED_OUT: "has timed out",
    identity_pb2.NODE_PHASE_RECOVERED: "was recovered",
}


def _attempt(node: why_pb2.NodeAnswer) -> str:
    return f"attempt {node.attempt}" if node.attempt else "the first attempt"


def _deadline(node: why_pb2.NodeAnswer, now: Timestamp) -> str:
    sleeps = any(reason.HasField("sleep") for reason in node.reasons)
    if not node.HasField("deadline") or sleeps:
        return ""  # a sleep is not longer than its node's timeout
    return f"; its timeout ends it at {words.clock(node.deadline, now)}"


def _phase(name: str) -> str:
    return name.removeprefix("NODE_PHASE_").removeprefix("EXECUTION_PHASE_")


def _whole(answer: why_pb2.WhyResponse, execution: _Execution) -> str:
    name = words.path(execution)
    if answer.asked:
        told = [node.sentence for node in answer.nodes[: answer.asked]]
        roots = [node for node in answer.nodes[answer.asked :] if node.node_id in set(answer.root_causes)]
        if roots:
            shown = " ".join(node.sentence for node in roots[:ROOTS_MAX])
            rest = answer.root_cause_count - len(roots[:ROOTS_MAX])
            told.append(f"At the bottom of it: {shown}{f' And {rest} more.' if rest > 0 else ''}")
        return " ".join(told)
    parts = [f"{name} is {_execution_phase(answer)}."]
    parts += [reason.sentence for reason in answer.reasons]
    if answer.root_cause_count:
        unfinished = words.number(answer.node_count, "node has", "nodes have")
        causes = words.number(answer.root_cause_count, "cause")
        parts.append(f"{unfinished} not finished, for {causes}:")
        parts += [node.sentence for node in answer.nodes[:ROOTS_MAX]]
        rest = answer.root_cause_count - ROOTS_MAX
        if rest > 0:
            parts.append(f"And {rest} more.")
    return " ".join(parts)


def _execution_phase(answer: why_pb2.WhyResponse) -> str:
    if answer.phase == identity_pb2.EXECUTION_PHASE_UNSPECIFIED:
        return "not taken up yet"
    return _phase(identity_pb2.ExecutionPhase.Name(answer.phase))


# ---- reasons ----


def _reason(reason: why_pb2.Reason, now: Timestamp, here: _Execution) -> str:
    kind = reason.WhichOneof("reason")
    if kind is None:
        return "for a reason that this release has no words for"
    return _REASONS[kind](getattr(reason, kind), now, here)


def _dependency(reason: why_pb2.Dependency, _now: Timestamp, _here: _Execution) -> str:
    has = "has" if reason.unfinished_count == 1 else "have"
    return f"{words.nodes(reason.unfinished, reason.unfinished_count)} {has} not finished"


def _decision(reason: why_pb2.Decision, _now: Timestamp, _here: _Execution) -> str:
    return f"the branch {words.label(reason.branch.node_id, reason.branch.name)} has not decided yet"


def _inner(reason: why_pb2.Inner, _now: Timestamp, _here: _Execution) -> str:
    has = "has" if reason.node_count == 1 else "have"
    return f"{words.nodes(reason.nodes, reason.node_count)} inside it {has} not finished"


def _parallelism(reason: why_pb2.Parallelism, now: Timestamp, here: _Execution) -> str:
    taken = words.holders(reason.holders, reason.holder_count, now, here)
    slots = "its one slot" if reason.limit == 1 else f"all {reason.limit} slots"
    return (
        f"{slots} of the execution's max_parallelism {'is' if reason.limit == 1 else 'are'} taken, by {taken};"
        f" {words.ahead(reason.ahead)}"
    )


def _preparation(_reason: why_pb2.Preparation, _now: Timestamp, _here: _Execution) -> str:
    return "its inputs are being read and stored"


def _tenant_limit(reason: why_pb2.TenantLimit, now: Timestamp, here: _Execution) -> str:
    tenant = f"{reason.project}/{reason.domain}" if reason.domain else f"project {reason.project}"
    taken = words.holders(reason.holders, reason.holder_count, now, here)
    return (
        f"{tenant} may have {words.number(reason.limit, 'attempt')} under way (wingbeat limits), and has"
        f" {reason.holder_count}"
        f"{f': {taken}' if taken else ''}{f'; {words.ahead(reason.ahead)}' if reason.HasField('ahead') else ''}"
    )


def _runtime_queue(reason: why_pb2.RuntimeQueue, now: Timestamp, here: _Execution) -> str:
    line = "" if not reason.HasField("ahead") else f"; {words.ahead(reason.ahead)}, of {reason.waiting} that wait"
    if reason.under_way < reason.capacity:
        room = reason.capacity - reason.under_way
        return f"its turn has not come, although there is room for {words.number(room, 'attempt')}{line}"
    tenants = words.listed(
        [f"{load.under_way} by {load.project}/{load.domain}" for load in reason.tenants if load.under_way],
        sum(1 for load in reason.tenants if load.under_way),
    )
    taken = words.holders(reason.holders, reason.under_way, now, here)
    places = "the only place" if reason.capacity == 1 else f"all {reason.capacity} places"
    whose = "with the workers that can run it" if reason.workers else "of its engine's runtime"
    return f"{places} {whose} {'is' if reason.capacity == 1 else 'are'} taken ({tenants}), by {taken}{line}"


def _no_worker(reason: why_pb2.NoWorker, _now: Timestamp, _here: _Execution) -> str:
    waiting = f"; {words.number(reason.waiting, 'attempt')} wait for one" if reason.waiting > 1 else ""
    return f"no worker is connected that can run it: {reason.needs}{waiting}"


_STEPS = {
    why_pb2.Starting.STEP_COMMITTING: "its row is being committed",
    why_pb2.Starting.STEP_WRITING_FILES: "its files are being written",
    why_pb2.Starting.STEP_HANDED_OVER: "the runtime has it and has not said that it runs",
}


def _starting(reason: why_pb2.Starting, _now: Timestamp, _here: _Execution) -> str:
    return _STEPS.get(reason.step, "it is on its way to the runtime")


def _running(reason: why_pb2.Running, now: Timestamp, _here: _Execution) -> str:
    attempt = f"attempt {reason.attempt}" if reason.attempt else "the first attempt"
    text = f"{attempt} has run for {words.span(reason.since, now)}, since {words.clock(reason.since, now)}"
    return f"{text}; the one before ended with: {words.error(reason.last_error)}" if reason.last_error else text


def _back_off(reason: why_pb2.BackOff, now: Timestamp, _here: _Execution) -> str:
    text = f"attempt {reason.next_attempt} begins at {words.clock(reason.until, now)}"
    text += f", in {words.span(now, reason.until)}, after a back-off"
    return f"{text}; the one before ended with: {words.error(reason.last_error)}" if reason.last_error else text


def _reservation(reason: why_pb2.Reservation, now: Timestamp, _here: _Execution) -> str:
    text = "its task makes the same outputs once, and asks the cache whose turn it is"
    if reason.owner:
        text = f"another makes the same outputs, which it will share: {reason.owner}"
    if reason.HasField("lapses"):
        text += f"; should that one be gone, it runs itself at {words.clock(reason.lapses, now)}"
    return text


def _sleep(reason: why_pb2.Sleep, now: Timestamp, _here: _Execution) -> str:
    return f"it sleeps until {words.clock(reason.until, now)}, {words.span(now, reason.until)} more"


def _signal(reason: why_pb2.Signal, _now: Timestamp, _here: _Execution) -> str:
    if reason.approval:
        return f"nobody has approved or rejected '{reason.signal_id}' (wingbeat signal, FlyteRemote.approve, .reject)"
    return f"nobody has given a value for '{reason.signal_id}' (wingbeat signal, FlyteRemote.set_signal)"


def _child_execution(reason: why_pb2.ChildExecution, _now: Timestamp, _here: _Execution) -> str:
    name = words.path(reason.execution)
    if not reason.exists:
        return f"its execution {name} is being created"
    if reason.why:
        return f"its execution has not ended: {reason.why.removesuffix('.')}"
    return f"its execution {name} is {_phase(identity_pb2.ExecutionPhase.Name(reason.phase))} (wingbeat why {name})"


def _elements(reason: why_pb2.Elements, now: Timestamp, here: _Execution) -> str:
    failed = f", {reason.failed} of them failed" if reason.failed else ""
    total = words.number(reason.total, "element has", "elements have")
    text = f"{reason.succeeded + reason.failed} of {total} ended{failed}"
    if reason.gathering:
        return f"{text}; the outputs are being put together"
    at_once = f" (at most {reason.concurrency} at once)" if reason.concurrency else ""
    parts = [f"{words.number(reason.under_way, 'is', 'are')} under way{at_once}"]
    if reason.running:
        parts[0] += f": {words.holders(reason.running, reason.under_way, now, here)}"
    if reason.queued:
        parts.append(f"{reason.queued} of these {'waits' if reason.queued == 1 else 'wait'} in a queue")
    if reason.pausing:
        pause = words.number(reason.pausing, "of these pauses", "of these pause")
        parts.append(f"{pause} after a failure, at least until {words.clock(reason.pause_ends, now)}")
    if reason.waiting:
        parts.append(f"{words.number(reason.waiting, 'has', 'have')} not begun")
    return f"{text}; {'; '.join(parts)}"


def _ruled_out(reason: why_pb2.RuledOut, _now: Timestamp, _here: _Execution) -> str:
    named = words.nodes(reason.nodes, len(reason.nodes))
    match reason.cause:
        case why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED:
            return f"it depends on {named}, without success; it is skipped once all that it depends on has ended"
        case why_pb2.RuledOut.CAUSE_WORKFLOW_FAILING:
            error = f" ({words.error(reason.error)})" if reason.error else ""
            return f"its workflow has failed{f' at {named}' if named else ''}{error}"
        case why_pb2.RuledOut.CAUSE_ONLY_ON_FAILURE:
            return "it is the failure node, and nothing has failed"
        case why_pb2.RuledOut.CAUSE_ARM_NOT_TAKEN:
            return f"{named or 'its branch'} has taken another arm"
        case why_pb2.RuledOut.CAUSE_EXECUTION_ENDED:
            return "the execution ended before its turn came"
        case _:
            return "nothing will start it"


def _ended(reason: why_pb2.Ended, now: Timestamp, _here: _Execution) -> str:
    text = f"it ended at {words.clock(reason.at, now)}, {words.span(reason.at, now)} ago"
    return f"{text}, with: {words.error(reason.error)}" if reason.error else text


def _overlap(reason: why_pb2.Overlap, now: Timestamp, here: _Execution) -> str:
    alive = words.holders(reason.alive, reason.alive_count, now, here)
    return (
        f"it waits for its turn: {words.number(reason.alive_max, 'execution')} of launch plan {reason.launch_plan}"
        f" may be alive at once, and {alive} {'is' if reason.alive_count == 1 else 'are'}; {words.ahead(reason.ahead)}"
    )


def _engine(reason: why_pb2.Engine, _now: Timestamp, _here: _Execution) -> str:
    name = f"its engine {reason.name}" if reason.name else "its engine"
    match reason.condition:
        case why_pb2.Engine.CONDITION_NONE_ALIVE:
            return "no engine process is alive; start one (`wingbeat up`, or the role propeller)"
        case why_pb2.Engine.CONDITION_SHARD_MOVING:
            return "it is on its way from one engine process to another, which takes some seconds"
        case why_pb2.Engine.CONDITION_LOADING:
            return f"{name} has taken it over and is loading it"
        case why_pb2.Engine.CONDITION_FULL:
            return (
                f"{name} is full: it has {reason.live_executions} of {reason.live_executions_max} executions in memory"
                f" and {reason.backlog} of {reason.backlog_max} transitions to write; {words.ahead(reason.ahead)}"
            )
        case why_pb2.Engine.CONDITION_ABOUT_TO_BEGIN:
            return f"{name} takes it up at any moment"
        case why_pb2.Engine.CONDITION_SILENT:
            return f"{name} does not answer, so what waits in its queues is not known"
        case _:
            return f"{name} does not drive it"


def _deadline_reason(reason: why_pb2.Deadline, now: Timestamp, _here: _Execution) -> str:
    what = "begun" if reason.begin else "ended"
    return f"it times out at {words.clock(reason.at, now)} unless it has {what} by then"


def _aborting(reason: why_pb2.Aborting, now: Timestamp, _here: _Execution) -> str:
    cause = f": {words.error(reason.cause)}" if reason.cause else ""
    return f"it is being aborted, as somebody asked {words.span(reason.since, now)} ago{cause}"


_REASONS: dict[str, Callable[[Any, Timestamp, _Execution], str]] = cast(
    "dict[str, Callable[[Any, Timestamp, _Execution], str]]",
    {
        "dependency": _dependency,
        "parallelism": _parallelism,
        "preparation": _preparation,
        "tenant_limit": _tenant_limit,
        "runtime_queue": _runtime_queue,
        "starting": _starting,
        "running": _running,
        "back_off": _back_off,
        "sleep": _sleep,
        "signal": _signal,
        "child_execution": _child_execution,
        "elements": _elements,
        "inner": _inner,
        "decision": _decision,
        "ruled_out": _ruled_out,
        "ended": _ended,
        "overlap": _overlap,
        "engine": _engine,
        "deadline": _deadline_reason,
        "aborting": _aborting,
        "reservation": _reservation,
        "no_worker": _no_worker,
    },
)
