"""Which shards fall to which engine process: rendezvous hashing, so that a change of members moves few shards.

Every member computes the same answer from the list of members alone. For each shard the member with the highest weight
owns it; a new member takes only the shards where its weight is the highest, a lost one leaves the others' untouched.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from wingbeat_propeller.core.ids import SHARDS


def desired_shards(term: int, members: Iterable[int]) -> frozenset[int]:
    """Shards that fall to `term` among `members` (terms, `term` itself included or not)."""
    return _shards_by_member(frozenset(members) | {term})[term]


@lru_cache(maxsize=64)
def _shards_by_member(members: frozenset[int]) -> dict[int, frozenset[int]]:
    shards: dict[int, set[int]] = {member: set() for member in members}
    for shard in range(SHARDS):
        owner = max(members, key=lambda member: (_weight(member, shard), member))
        shards[owner].add(shard)
    return {member: frozenset(owned) for member, owned in shards.items()}


def _weight(member: int, shard: int) -> bytes:
    return hashlib.blake2b(f"{member}:{shard}".encode(), digest_size=8).digest()
