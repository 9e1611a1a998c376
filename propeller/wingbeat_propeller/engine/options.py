"""What an installation says about an engine process."""

from dataclasses import dataclass, field

from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.engine.answering import ServerTls
from wingbeat_propeller.engine.reservation_keeper import HEARTBEAT_S


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`name` is shown to people. Times in seconds."""

    name: str
    lease_s: float = 6.0
    poll_s: float = 2.0
    """How often to look for work whose notification was lost."""
    live_max: int = 20_000
    """Executions in memory; more wait in the database."""
    tenant_live_min: int = 100
    """Executions of one tenant that are taken up although `live_max` is reached by others."""
    backlog_max: int = 5_000
    """Effects waiting for the journal above which no new execution is taken up."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    answer_host: str = ""
    """Where questions of the servers are answered, on a free port; empty: nowhere."""
    answer_tls: ServerTls | None = None
    """None: they are answered in the clear."""
    cache_heartbeat_s: float = HEARTBEAT_S
    """How often reservations in the cache are extended; those of an engine that is gone lapse after three times this,
    unless whoever takes its executions up goes on with them."""
    sweep_s: float = 30.0
    """How often the runtime is searched for attempts that nobody waits for."""
