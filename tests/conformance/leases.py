"""What every kind of leases must do; subclass with a fixture `database` that yields an empty EngineDatabase."""

import pytest
from tests.conformance.engine_database import EngineDatabase

from wingbeat_propeller.core.ids import SHARDS
from wingbeat_propeller.ports.journal import LeaseLostError

_LEASE_S = 60.0
_ALL = frozenset(range(SHARDS))


class LeasesContract:
    """The contract of `ports.Leases`. Time is moved by hand instead of waited for."""

    async def test_a_lone_member_takes_all_shards_once(self, database: EngineDatabase) -> None:
        """Acquired shards are reported once, however many rounds follow."""
        leases = database.leases()
        term = await leases.join("a", _LEASE_S)
        first = await leases.round(term, _LEASE_S)
        assert (first.acquired, first.to_release) == (_ALL, frozenset())
        again = await leases.round(term, _LEASE_S)
        assert (again.acquired, again.to_release) == (frozenset(), frozenset())
        assert await database.owned() == dict.fromkeys(range(SHARDS), term)

    async def test_shards_move_to_a_new_member_by_release(self, database: EngineDatabase) -> None:
        """A new member gets its share only after the owner gave it up; nothing is ever owned twice."""
        a, b = database.leases(), database.leases()
        term_a = await a.join("a", _LEASE_S)
        await a.round(term_a, _LEASE_S)
        term_b = await b.join("b", _LEASE_S)
        assert (await b.round(term_b, _LEASE_S)).acquired == frozenset()
        leaving = (await a.round(term_a, _LEASE_S)).to_release
        assert SHARDS / 4 < len(leaving) < SHARDS * 3 / 4
        await a.release(term_a, sorted(leaving))
        assert (await b.round(term_b, _LEASE_S)).acquired == leaving
        await b.leave(term_b)
        assert (await a.round(term_a, _LEASE_S)).acquired == leaving

    async def test_only_the_owner_gives_up(self, database: EngineDatabase) -> None:
        """Releasing shards of another member changes nothing."""
        a, b = database.leases(), database.leases()
        term_a = await a.join("a", _LEASE_S)
        await a.round(term_a, _LEASE_S)
        term_b = await b.join("b", _LEASE_S)
        await b.release(term_b, [1, 2, 3])
        assert await database.owned() == dict.fromkeys(range(SHARDS), term_a)

    async def test_an_expired_member_loses_everything(self, database: EngineDatabase) -> None:
        """Shards of a member whose lease is over fall to the others, and its own next round says so."""
        a, b = database.leases(), database.leases()
        term_a = await a.join("a", _LEASE_S)
        await a.round(term_a, _LEASE_S)
        term_b = await b.join("b", _LEASE_S)
        await database.expire(term_a)
        assert (await b.round(term_b, _LEASE_S)).acquired == _ALL
        with pytest.raises(LeaseLostError):
            await a.round(term_a, _LEASE_S)
        assert await a.join("a", _LEASE_S) > term_b

    async def test_a_late_renewal_counts_until_somebody_objects(self, database: EngineDatabase) -> None:
        """A lease that ran out while nobody took the shards is simply renewed."""
        leases, other = database.leases(), database.leases()
        term = await leases.join("a", _LEASE_S)
        await leases.round(term, _LEASE_S)
        await database.expire(term)
        assert (await leases.round(term, _LEASE_S)).to_release == frozenset()
        await other.round(await other.join("b", _LEASE_S), _LEASE_S)
        assert await database.owned() == dict.fromkeys(range(SHARDS), term)

    async def test_a_round_whose_answer_was_lost_is_made_good(self, database: EngineDatabase) -> None:
        """Shards that a round took without being able to say so are reported by the next."""
        leases = database.leases()
        term = await leases.join("a", _LEASE_S)
        await database.own(term, range(10))
        assert (await leases.round(term, _LEASE_S)).acquired == _ALL

    async def test_an_ended_term_takes_nothing(self, database: EngineDatabase) -> None:
        """A member whose term was ended can neither renew nor take, and leaving is no error."""
        leases = database.leases()
        term = await leases.join("a", _LEASE_S)
        await database.end_term(term)
        with pytest.raises(LeaseLostError):
            await leases.round(term, _LEASE_S)
        await leases.leave(term)
        assert await database.owned() == {}
