"""Rendezvous hashing of shards."""

from wingbeat_propeller.core.ids import SHARDS
from wingbeat_propeller.core.shards import desired_shards


def test_members_divide_all_shards() -> None:
    """Every shard falls to exactly one member, whoever computes it."""
    members = [3, 8, 21]
    parts = [desired_shards(member, members) for member in members]
    assert sum(len(part) for part in parts) == SHARDS
    assert frozenset().union(*parts) == frozenset(range(SHARDS))
    assert all(len(part) > SHARDS / 6 for part in parts)


def test_a_change_of_members_moves_few_shards() -> None:
    """A new member takes shards only for itself; the others keep what it does not take."""
    before = {member: desired_shards(member, [1, 2, 3]) for member in (1, 2, 3)}
    after = {member: desired_shards(member, [1, 2, 3, 4]) for member in (1, 2, 3, 4)}
    for member in (1, 2, 3):
        assert after[member] == before[member] - after[4]


def test_a_lone_member_has_them_all() -> None:
    """A member counts itself in, whether the list names it or not."""
    assert desired_shards(5, []) == frozenset(range(SHARDS))
