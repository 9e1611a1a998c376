"""Values that are much larger than a row or a message likes."""

import hashlib

from flytekit import task, workflow


@task
def make_text(length: int) -> str:
    """A string of so many characters."""
    return "0123456789" * (length // 10)


@task
def digest_text(text: str) -> str:
    """What arrived."""
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


@workflow
def text_wf(length: int) -> tuple[str, str]:
    """Make it, read it, return both."""
    text = make_text(length=length)
    return text, digest_text(text=text)


@workflow
def text_input_wf(text: str) -> str:
    """A large input of the whole workflow."""
    return digest_text(text=text)


@task
def make_numbers(count: int) -> list[int]:
    """Large numbers, so that each takes many bytes."""
    return [(1 << 40) + number for number in range(count)]


@task
def sum_numbers(numbers: list[int]) -> int:
    """What arrived."""
    return sum(numbers)


@workflow
def numbers_wf(count: int) -> tuple[list[int], int]:
    """Make them, read them, return both."""
    numbers = make_numbers(count=count)
    return numbers, sum_numbers(numbers=numbers)


@task
def complain(size: int) -> int:
    """Fail at great length."""
    if size:
        raise ValueError("begin " + "x" * size + " end")
    return 0


@workflow
def complain_wf(size: int) -> int:
    """One verbose task."""
    return complain(size=size)
