"""What is remembered of objects."""

from wingbeat_propeller.core.memo import Memo


class _Thing:
    """Equal to all others of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Thing)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def test_each_object_is_asked_about_once() -> None:
    """It is the object that counts, not what it is equal to."""
    asked: list[_Thing] = []
    numbers = Memo[_Thing, int](lambda thing: asked.append(thing) or len(asked), 10)
    first, second = _Thing(), _Thing()
    assert [numbers(first), numbers(second), numbers(first)] == [1, 2, 1]


def test_no_more_are_kept_than_may_be() -> None:
    """Beyond that all are forgotten, and asked about again; none is taken for another that got its place."""
    made: list[int] = []
    lengths = Memo[list[int], int](lambda of: made.append(of[0]) or of[0], 3)
    for number in range(100):
        assert lengths([number]) == number
    kept = [100]
    assert (lengths(kept), lengths(kept)) == (100, 100)
    assert made == list(range(101))


def test_errors_are_not_kept() -> None:
    """Who asks again gets the answer of then."""
    answers = iter([ValueError("not yet"), 7])

    def make(_: list[int]) -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    memo = Memo(make, 3)
    thing = [1]
    try:
        memo(thing)
    except ValueError:
        assert memo(thing) == 7
    else:
        raise AssertionError("the error was swallowed")
