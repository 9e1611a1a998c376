"""Executions this process drives now, and the process-wide facts that the parts of the engine share."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wingbeat_propeller.compiler.comparison import NO_RULES, Rules
from wingbeat_propeller.compiler.resources import PlatformResources
from wingbeat_propeller.core.effects import NodeRef
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.state import ExecutionState

Tenant: TypeAlias = tuple[str, str]
"""Project and domain: the unit of fairness."""


class AttemptKey(NamedTuple):
    """An attempt by execution and place in its state."""

    execution: ExecutionKey
    ref: NodeRef


@dataclass(frozen=True, slots=True)
class Source:
    """The execution that is recovered: its row id, name and the prefix of its raw outputs (empty: the
    installation's)."""

    execution: int
    name: str
    raw_output_prefix: str
    same_version: bool = True
    """Whether it ran the same version of the workflow."""
    rules: Rules = NO_RULES
    """What whoever recovers it knows of the two versions."""


@dataclass(slots=True, eq=False)
class LiveExecution:
    """One execution in memory, with those settings of its launch that its tasks see."""

    state: ExecutionState
    shard: int
    workflow_name: str
    tenant: Tenant
    """Whom its work counts for."""
    envs: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    raw_output_prefix: str
    """Empty: the installation's."""
    resources: PlatformResources = field(default_factory=PlatformResources)
    """Defaults and limits of its containers."""
    launch_plan_id: int | None = None
    """Row id of its launch plan, in whose line others may wait for its end."""
    priority: int = 0
    """Its attempts wait before those of its tenant's executions with a lower one."""
    source: Source | None = None
    """What it recovers, if anything."""
    names: set[str] = field(default_factory=set[str])
    """Attempts that are queued, starting or running."""
    is_taken_over: bool = False
    """It was begun by another engine, which may have got slots for attempts that this one never had under way."""
    is_last_word_said: bool = False
    """Nothing but the end of its own row is left to be written, for a fault of the engine or the database."""
    timers: set[tuple[AttemptKey, int]] = field(default_factory=set[tuple[AttemptKey, int]])
    """Deadlines set for its nodes, some of which may have passed."""


class LiveExecutions:
    """Registry by key and by shard."""

    def __init__(self) -> None:
        self._by_key: dict[ExecutionKey, LiveExecution] = {}
        self._by_shard: dict[int, set[ExecutionKey]] = {}
        self.by_tenant: Counter[Tenant] = Counter()
        """How many there are of each tenant that has any."""
        self.undurable: set[ExecutionKey] = set()
        """Taken up, but the database still calls them new."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: ExecutionKey) -> bool:
        return key in self._by_key

    def __iter__(self) -> Iterator[LiveExecution]:
        return iter(self._by_key.values())

    def get(self, key: ExecutionKey) -> LiveExecution | None:
        """The execution, if this process drives it."""
        return self._by_key.get(key)

    def drives(self, live: LiveExecution) -> bool:
        """Whether an execution that was, is still driven here."""
        return self._by_key.get(live.state.key) is live

    def add(self, live: LiveExecution) -> None:
        """Take an execution up."""
        assert live.state.key not in self._by_key, "an execution is taken up once"
        self._by_key[live.state.key] = live
        self.by_tenant[live.tenant] += 1
        self._by_shard.setdefault(live.shard, set()).add(live.state.key)

    def remove(self, live: LiveExecution) -> None:
        """It has ended, or belongs to another process now."""
        if self._by_key.pop(live.state.key, None) is not None:
            self.by_tenant[live.tenant] -= 1
            if not self.by_tenant[live.tenant]:
                del self.by_tenant[live.tenant]
        self._by_shard.get(live.shard, set()).discard(live.state.key)

    def in_shards(self, shards: Iterable[int]) -> list[LiveExecution]:
        """Those of some shards."""
        return [self._by_key[key] for shard in shards for key in self._by_shard.get(shard, ())]
