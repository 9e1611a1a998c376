"""Ids must be those that Flyte v1 computes: clients and task containers compute them too."""

import pytest

from wingbeat_propeller.core.ids import (
    SHARDS,
    ExecutionKey,
    attempt_name,
    child_execution_name,
    fixed_length,
    generated_name,
    join,
    raw_output_shard,
    shard_of,
    unique_node_id,
)


def test_fixed_length_agrees_with_flyte() -> None:
    """Check values of v1's own tests, for both hash widths."""
    text = join("xyzmnyzmnyzmn")
    assert fixed_length("x" * 24, 20) == "fuaa3aji"
    assert fixed_length(text, 15) == "fe63sz6y"
    assert fixed_length(text, 15, bits=64) == "fwp4bky2kucex5"
    assert fixed_length("short", 20) == "short"


def test_join_writes_no_leading_dash() -> None:
    """Leading empty parts vanish, later ones leave their dash."""
    assert join(("", "a", "", "b")) == "a--b"


@pytest.mark.parametrize(
    ("parent", "attempt", "node", "expected"),
    [(None, 0, "n0", "n0"), ("n0", 1, "n3", "n0-1-n3"), ("n0", 1, "start-node", "n0-1-start-node")],
)
def test_unique_node_ids(parent: str | None, attempt: int, node: str, expected: str) -> None:
    """Nested nodes carry their parent's id and attempt."""
    assert unique_node_id(parent, attempt, node) == expected


def test_long_ids_keep_their_limits() -> None:
    """Node ids have at most 20 characters, names of attempts 50, child executions 20."""
    assert len(unique_node_id("a-rather-long-parent", 0, "n0")) <= 20
    assert len(generated_name("e" * 63, "n0", 0)) <= 50
    assert len(child_execution_name("e" * 63, "n0", 0)) <= 20


def test_attempt_names_are_unique_in_the_installation() -> None:
    """Executions of one name in two domains do not share the name of an attempt."""
    generated = generated_name("nightly", "n0", 0)
    assert attempt_name(ExecutionKey(36), generated) == "nightly-n0-0-10"
    assert attempt_name(ExecutionKey(37), generated) == "nightly-n0-0-11"


def test_raw_output_shard_agrees_with_flyte() -> None:
    """Two characters of 0-9a-z by FNV-1a."""
    assert raw_output_shard("feda4e266c748463a97d-n0-0") == "o4"


def test_shards_are_all_used() -> None:
    """Executions spread over all shards; the function never changes."""
    assert {shard_of("p", "d", f"e{i}") for i in range(5000)} == set(range(SHARDS))
    assert shard_of("flytesnacks", "development", "abc") == 72
