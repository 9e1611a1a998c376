"""Sentences of answers to `why`."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from wingbeat_controlplane.executions.why import words
from wingbeat_controlplane.executions.why.sentences import write_sentences
from wingbeatidl.query.v1 import identity_pb2, why_pb2

HERE = identity_pb2.ExecutionIdentifier(project="p", domain="d", name="e")
OTHER = identity_pb2.ExecutionIdentifier(project="p", domain="x", name="other")
NOW = Timestamp(seconds=1_777_640_400)  # 2026-05-01 13:00:00 UTC


def _ago(seconds: float) -> Timestamp:
    return Timestamp(seconds=NOW.seconds - int(seconds))


def _node(node_id: str, name: str = "") -> why_pb2.NodeReference:
    return why_pb2.NodeReference(node_id=node_id, name=name)


def _holder(node_id: str, execution: identity_pb2.ExecutionIdentifier = HERE, attempt: int = 0) -> why_pb2.Holder:
    return why_pb2.Holder(execution=execution, node_id=node_id, attempt=attempt, since=_ago(65))


def _said(standing: int, **answer: object) -> str:
    """The sentence of a node `n1` called `work`, with one reason."""
    deadline = answer.pop("deadline", None)
    phase = answer.pop("phase", 0)
    reasons = [why_pb2.Reason(**{name: reason}) for name, reason in answer.items()]
    node = why_pb2.NodeAnswer(node_id="n1", name="work", standing=standing, reasons=reasons, phase=phase)
    if isinstance(deadline, Timestamp):
        node.deadline.CopyFrom(deadline)
    response = why_pb2.WhyResponse(nodes=[node], asked=1, as_of=NOW)
    write_sentences(response, HERE)
    assert all(reason.sentence.endswith(".") for reason in response.nodes[0].reasons)
    return response.nodes[0].sentence


CASES = [
    (
        _said(
            why_pb2.STANDING_NOT_REACHED,
            dependency=why_pb2.Dependency(unfinished=[_node("a"), _node("b", "bake")], unfinished_count=2),
        ),
        "n1 (work) waits: a and b (bake) have not finished.",
    ),
    (
        _said(
            why_pb2.STANDING_NOT_REACHED,
            dependency=why_pb2.Dependency(unfinished=[_node(f"a{number}") for number in range(9)], unfinished_count=9),
        ),
        "n1 (work) waits: a0, a1, a2, a3 and 5 more have not finished.",
    ),
    (
        _said(why_pb2.STANDING_NOT_REACHED, decision=why_pb2.Decision(branch=_node("if", "choose"))),
        "n1 (work) waits: the branch if (choose) has not decided yet.",
    ),
    (
        _said(
            why_pb2.STANDING_HELD,
            parallelism=why_pb2.Parallelism(limit=2, holders=[_holder("a"), _holder("b", attempt=1)], holder_count=2),
        ),
        (
            "n1 (work) is ready and waits: all 2 slots of the execution's max_parallelism are taken,"
            " by a (for 1 min 5 s) and b (attempt 1, for 1 min 5 s); it is next in line."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_HELD,
            parallelism=why_pb2.Parallelism(limit=1, holders=[_holder("a")], holder_count=1, ahead=1),
        ),
        (
            "n1 (work) is ready and waits: its one slot of the execution's max_parallelism is taken,"
            " by a (for 1 min 5 s); 1 goes before it."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_QUEUED,
            runtime_queue=why_pb2.RuntimeQueue(
                capacity=8,
                under_way=8,
                waiting=40,
                ahead=12,
                holders=[_holder("m", OTHER)],
                tenants=[why_pb2.TenantLoad(project="p", domain="x", under_way=8, waiting=40)],
            ),
        ),
        (
            "n1 (work) is ready, and the first attempt of it waits: all 8 places of its engine's runtime are taken"
            " (8 by p/x), by m of p/x/other (for 1 min 5 s) and 7 more; 12 go before it, of 40 that wait."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_QUEUED,
            runtime_queue=why_pb2.RuntimeQueue(
                capacity=1,
                under_way=1,
                workers=True,
                holders=[_holder("m", OTHER)],
                tenants=[why_pb2.TenantLoad(project="p", domain="x", under_way=1)],
            ),
        ),
        (
            "n1 (work) is ready, and the first attempt of it waits: the only place with the workers that can run it is"
            " taken (1 by p/x), by m of p/x/other (for 1 min 5 s)."
        ),
    ),
    (
        _said(why_pb2.STANDING_QUEUED, no_worker=why_pb2.NoWorker(needs="image 'i', label pool=gpu", waiting=3)),
        (
            "n1 (work) is ready, and the first attempt of it waits: no worker is connected that can run it:"
            " image 'i', label pool=gpu; 3 attempts wait for one."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_QUEUED,
            tenant_limit=why_pb2.TenantLimit(
                project="p", limit=1, holders=[_holder("m", OTHER)], holder_count=1, ahead=0
            ),
        ),
        (
            "n1 (work) is ready, and the first attempt of it waits: project p may have 1 attempt under way"
            " (wingbeat limits), and has 1:"
            " m of p/x/other (for 1 min 5 s); it is next in line."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_RUNNING,
            running=why_pb2.Running(attempt=2, since=_ago(7), last_error="Traceback:\n  File x\nValueError: bad\n"),
            deadline=Timestamp(seconds=NOW.seconds + 60),
        ),
        (
            "n1 (work) is running: attempt 2 has run for 7.0 s, since 12:59:53 UTC; the one before ended with:"
            " ValueError: bad; its timeout ends it at 13:01:00 UTC."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_WAITING,
            back_off=why_pb2.BackOff(until=Timestamp(seconds=NOW.seconds + 30), next_attempt=1, last_error="lost"),
        ),
        (
            "n1 (work) waits: attempt 1 begins at 13:00:30 UTC, in 30 s, after a back-off;"
            " the one before ended with: lost."
        ),
    ),
    (
        _said(why_pb2.STANDING_WAITING, sleep=why_pb2.Sleep(until=Timestamp(seconds=NOW.seconds + 90000))),
        "n1 (work) waits: it sleeps until 2026-05-02 14:00:00 UTC, 1 d 1 h more.",
    ),
    (
        _said(why_pb2.STANDING_WAITING, signal=why_pb2.Signal(signal_id="go", approval=True)),
        "n1 (work) waits: nobody has approved or rejected 'go' (wingbeat signal, FlyteRemote.approve, .reject).",
    ),
    (
        _said(
            why_pb2.STANDING_WAITING,
            child_execution=why_pb2.ChildExecution(execution=OTHER, exists=True, why="p/x/other is RUNNING. It works."),
        ),
        "n1 (work) waits: its execution has not ended: p/x/other is RUNNING. It works.",
    ),
    (
        _said(
            why_pb2.STANDING_RUNNING,
            elements=why_pb2.Elements(
                total=10,
                succeeded=3,
                failed=1,
                under_way=3,
                waiting=3,
                concurrency=3,
                queued=1,
                pausing=1,
                pause_ends=Timestamp(seconds=NOW.seconds + 9),
                running=[_holder("n1-0-n4")],
            ),
        ),
        (
            "n1 (work) is running: 4 of 10 elements have ended, 1 of them failed; 3 are under way (at most 3 at once):"
            " n1-0-n4 (for 1 min 5 s) and 2 more; 1 of these waits in a queue;"
            " 1 of these pauses after a failure, at least until 13:00:09 UTC; 3 have not begun."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_RULED_OUT,
            ruled_out=why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED, nodes=[_node("a")]),
        ),
        (
            "n1 (work) will not run: it depends on a, without success;"
            " it is skipped once all that it depends on has ended."
        ),
    ),
    (
        _said(
            why_pb2.STANDING_ENDED,
            phase=identity_pb2.NODE_PHASE_FAILED,
            ended=why_pb2.Ended(at=_ago(7200), error="KeyError: 'x'"),
        ),
        "n1 (work) has failed: it ended at 11:00:00 UTC, 2 h ago, with: KeyError: 'x'.",
    ),
]


@pytest.mark.parametrize(("said", "expected"), CASES)
def test_nodes(said: str, expected: str) -> None:
    """Where the node stands, what it waits for, who has that, and its place in line."""
    assert said == expected


def test_every_kind_of_reason_has_words() -> None:
    """Each kind of the protocol is told, even when it says nothing."""
    kinds = [field.name for field in why_pb2.Reason.DESCRIPTOR.oneofs_by_name["reason"].fields]
    for kind in kinds:
        reason = why_pb2.Reason()
        getattr(reason, kind).SetInParent()
        answer = why_pb2.WhyResponse(reasons=[reason], as_of=NOW)
        write_sentences(answer, HERE)
        assert answer.reasons[0].sentence.endswith("."), kind
        assert "no words" not in answer.reasons[0].sentence


def test_the_whole_answer() -> None:
    """Root causes are told first, the rest is counted; what holds the execution itself comes before."""
    nodes = [
        why_pb2.NodeAnswer(
            node_id=f"n{number}",
            standing=why_pb2.STANDING_RUNNING,
            reasons=[why_pb2.Reason(running=why_pb2.Running(since=_ago(5)))],
        )
        for number in range(5)
    ]
    answer = why_pb2.WhyResponse(
        phase="EXECUTION_PHASE_RUNNING",
        nodes=nodes,
        root_causes=[node.node_id for node in nodes],
        root_cause_count=7,
        node_count=40,
        as_of=NOW,
    )
    write_sentences(answer, HERE)
    assert answer.sentence.startswith("p/d/e is RUNNING. 40 nodes have not finished, for 7 causes: n0 is running:")
    assert answer.sentence.endswith("And 4 more.")
    fresh = why_pb2.WhyResponse(as_of=NOW)
    fresh.reasons.add(engine=why_pb2.Engine(condition=why_pb2.Engine.CONDITION_NONE_ALIVE))
    write_sentences(fresh, HERE)
    assert fresh.sentence.startswith("p/d/e is not taken up yet. No engine process is alive; start one")


def test_words() -> None:
    """Rows of things, spans that clocks turn around, and errors of many lines."""
    assert words.listed([], 0) == ""
    assert words.listed(["a"], 1) == "a"
    assert words.listed(["a", "b", "c"], 3) == "a, b and c"
    assert words.span(NOW, _ago(3)) == "0 ms"
    assert words.error("") == ""
    assert words.error("x" * 1000).endswith("...")
    assert words.label("n0", "n0") == "n0"
