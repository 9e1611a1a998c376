"""What workers are told of attempts."""

from collections.abc import Mapping

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.worker.assignments import Assignments, Handover
from wingbeat_propeller.runtimes.worker.session import Session
from wingbeatidl.worker.v1 import worker_pb2

STORE = {"STORE": "folder", "LATE": "store"}


def make(assignments: Assignments, env: Mapping[str, str], **more: object) -> Handover:
    """Of an attempt with this environment."""
    named = {"name": "a", "image": "img", "argv": ["pyflyte-execute"]}
    return assignments.make(ContainerRequest(**{**named, **more}, env=env), 7)


def assignment_of(handover: Handover) -> worker_pb2.Assignment:
    """What the worker is told of this attempt alone."""
    (assignment,) = worker_pb2.WorkResponse.FromString(handover.assignment).assign
    return assignment


def env_of(handover: Handover) -> dict[str, str]:
    """As the task will find it."""
    assignment = assignment_of(handover)
    assert assignment.code == handover.code.key
    return {**handover.code.env, **assignment.env}


def test_the_environment() -> None:
    """What tasks ask for comes after the store's, and before the installation's; what cannot be set is left out."""
    assignments = Assignments(store_env=STORE, extra_env={"LATER": "extra", "FLYTE_ATTEMPT_NUMBER": "9"})
    asked = {"LATE": "task", "LATER": "task", "FLYTE_INTERNAL_EXECUTION_ID": "e", "FLYTE_ATTEMPT_NUMBER": "0"}
    handover = make(assignments, {**asked, "a=b": "", "FLYTE_INTERNAL_TASK_NAME": "\0"}, labels={"k": "v"})
    env = env_of(handover)
    assert env["STORE"], env["LATE"] == ("folder", "task")
    assert env["LATER"] == "extra"
    assert env["FLYTE_ATTEMPT_NUMBER"] == "9"
    assert env["WINGBEAT_LABELS"] == '{"k": "v"}'
    assert "a=b" not in env
    assert "FLYTE_INTERNAL_TASK_NAME" not in env
    own = set(assignment_of(handover).env)
    assert own == {"FLYTE_INTERNAL_EXECUTION_ID", "FLYTE_ATTEMPT_NUMBER", "WINGBEAT_LABELS"}


def test_codes() -> None:
    """Attempts of other executions share a process; other images, archives and environments do not."""
    assignments = Assignments(store_env=STORE, extra_env={})
    first = make(assignments, {"A": "1", "B": "2", "FLYTE_INTERNAL_EXECUTION_ID": "e"})
    other = make(assignments, {"B": "2", "FLYTE_INTERNAL_EXECUTION_ID": "f", "A": "1"}, name="b")
    assert first.code.key == other.code.key
    fast = ["pyflyte-fast-execute", "--additional-distribution", "s3://b/code.tar.gz", "--", "pyflyte-execute"]
    others = [
        make(assignments, {"A": "1"}),
        make(assignments, {"A": "1", "B": "3"}),
        make(assignments, {"A": "1", "B": "2"}, image="other"),
        make(assignments, {"A": "1", "B": "2"}, argv=fast),
    ]
    assert len({first.code.key, *(one.code.key for one in others)}) == 5


async def test_what_is_shared_is_said_once_a_message() -> None:
    """To a worker that takes it from there; any other gets all with each assignment."""
    assignments = Assignments(store_env=STORE, extra_env={})
    handovers = [make(assignments, {"FLYTE_INTERNAL_EXECUTION_ID": name}, name=name) for name in ("a", "b")]
    for knows_codes in (True, False):
        session = Session(worker_pb2.Hello(worker_id="w", knows_codes=knows_codes), 2, 0.0)
        session.stream = 1
        for _ in range(2):
            for handover in handovers:
                session.assign(handover)
            message = await session.next_message(session.stream, 1)
            assert message is not None
            assert len(message.codes) == (1 if knows_codes else 0)
            for assignment, handover in zip(message.assign, handovers, strict=True):
                shared = dict(message.codes[0].env) if knows_codes else {}
                assert shared | dict(assignment.env) == env_of(handover)
