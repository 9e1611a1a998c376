"""Worlds by the thousand. `WINGBEAT_WORLDS` sets how many, `WINGBEAT_WORLDS_FROM` the first seed."""

import os
import subprocess
import sys

import pytest

from tests.simulation.world import World

BLOCK = 100
_FIRST = int(os.environ.get("WINGBEAT_WORLDS_FROM", "0"))
_BLOCKS = range(_FIRST, _FIRST + int(os.environ.get("WINGBEAT_WORLDS", "2000")), BLOCK)


@pytest.mark.long
@pytest.mark.parametrize("first", _BLOCKS)
def test_promises_hold(first: int) -> None:
    """Whatever goes wrong, every execution ends as a straight run of its workflow would, with exact budgets, one writer
    at a time, and nothing left over."""
    for seed in range(first, first + BLOCK):
        try:
            World(seed).run()
        except AssertionError as error:
            raise AssertionError(f"replay with: python -m tests.simulation --seed {seed} --trace\n{error}") from error


def test_a_seed_does_the_same_again() -> None:
    """Two processes, with different hashes of strings, tell the same story of the same seeds to the last word."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "1", "--count", "20", "--trace"]
    stories = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert stories[0] == stories[1]
    assert stories[0].count("the world is at rest") == 20
