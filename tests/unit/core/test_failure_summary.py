"""The message of an array whose elements failed."""

from wingbeat_propeller.core.failure_summary import TEXT_BYTES_MAX, FailureSummary
from wingbeat_propeller.core.outcome import ErrorKind, Failure


def _failure(text: str, code: str = "C") -> Failure:
    return Failure(ErrorKind.SYSTEM, code, text)


def test_equal_texts_are_told_once_with_ranges() -> None:
    """In order of the first element of each, whatever the order in which they failed."""
    summary = FailureSummary()
    for index in (9, 3, 1, 0):
        summary.add(index, _failure("text", f"C{index}"))
    summary.add(2, _failure("other", "O"))
    assert summary.failure() == Failure(ErrorKind.USER, "C0", "[0-1][3][9]: text\n[2]: other\n")


def test_texts_are_bounded() -> None:
    """Elements whose texts find no room are counted; the first text is kept whatever its length."""
    summary = FailureSummary()
    summary.add(5, _failure("x" * (TEXT_BYTES_MAX + 1)))
    for index in (6, 7, 9):
        summary.add(index, _failure(f"text {index}"))
    summary.add(8, _failure("x" * (TEXT_BYTES_MAX + 1)))
    message = summary.failure().message
    assert message.startswith("[5][8]: xxx")
    assert message.endswith("\n[6-7][9]: failed with further messages\n")
