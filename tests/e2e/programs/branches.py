"""Conditions: every operator, nested conditions, arms of every kind, and outputs that follow a condition."""

from dataclasses import dataclass

from flytekit import conditional, task, workflow


@dataclass
class Answer:
    """What a condition may look into."""

    comment: str
    score: float


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@task
def negate(number: int) -> int:
    """The number below zero."""
    return -number


@task
def is_even(number: int) -> bool:
    """A condition made by a task."""
    return number % 2 == 0


@task
def judge(score: float) -> Answer:
    """A dataclass whose fields are compared."""
    return Answer(comment="judged", score=score)


@task
def note(path: str, text: str) -> str:
    """Leaves a line, so that a test sees which arm has run."""
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return text


@workflow
def double_twice_wf(number: int) -> int:
    """An arm that is a workflow."""
    return double(number=double(number=number))


@workflow
def ranges_wf(number: int) -> int:
    """Several cases, the first that holds; AND and OR; an else that fails."""
    result = (
        conditional("ranges")
        .if_((number > 0) & (number <= 10))
        .then(double(number=number))
        .elif_((number == 42) | (number >= 100))
        .then(double_twice_wf(number=number))
        .elif_(number < -5)
        .then(negate(number=number))
        .else_()
        .fail("the number is out of all ranges")
    )
    return double(number=result)


@workflow
def nested_wf(number: int, wants_double: bool) -> int:
    """A condition in a condition, on the output of a task and on a workflow input."""
    even = is_even(number=number)
    return (
        conditional("even")
        .if_(even.is_true())
        .then(
            conditional("wish")
            .if_(wants_double.is_true())
            .then(double(number=number))
            .else_()
            .then(negate(number=number))
        )
        .else_()
        .then(double_twice_wf(number=number))
    )


@workflow
def fields_wf(score: float) -> str:
    """A condition on a field of a dataclass, by attribute access."""
    answer = judge(score=score)
    return (
        conditional("fields")
        .if_(answer.score >= 0.9)  # type: ignore[attr-defined]
        .then(note(path="/dev/null", text="great"))
        .elif_(answer.score > 0.5)  # type: ignore[attr-defined]
        .then(note(path="/dev/null", text="good"))
        .else_()
        .then(note(path="/dev/null", text="poor"))
    )


@workflow
def words_wf(path: str, word: str) -> str:
    """Text compared by its bytes; only one arm runs."""
    return (
        conditional("words")
        .if_(word != "stop")
        .then(note(path=path, text=word))
        .else_()
        .then(note(path=path, text="stopped"))
    )
