"""Which transitions a watcher wants: a request, checked once, as decisions that cost little for each transition.

Two requests that want the same have equal matchers, so that what is sent is chosen and encoded once for both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from wingbeat_controlplane.errors import bad_field
from wingbeat_controlplane.executions.watch.facts import EntityName, ExecutionFacts
from wingbeat_propeller.core.phases import EXECUTION_FINAL
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

EXECUTIONS_MAX = 1_000
BATCHES_MAX = 100
ENTITIES_MAX = 100
LABELS_MAX = 100

_EXECUTION = transition_pb2.LEVEL_EXECUTION
_NODE = transition_pb2.LEVEL_NODE
_ATTEMPT = transition_pb2.LEVEL_ATTEMPT
_TASK = transition_pb2.ENTITY_KIND_TASK
_LAUNCH_PLAN = transition_pb2.ENTITY_KIND_LAUNCH_PLAN
_KNOWN_LEVELS = frozenset({_EXECUTION, _NODE, _ATTEMPT})
_TEXT_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class Matcher:
    """What is wanted. Empty collections want everything; phases are by level."""

    levels: frozenset[int]
    with_outputs: bool = False
    project: str = ""
    domain: str = ""
    executions: frozenset[str] = frozenset()
    ids: frozenset[int] = frozenset()
    """Row ids instead of names, for callers inside."""
    batches: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    entities: frozenset[EntityName] = frozenset()
    phases: frozenset[tuple[int, frozenset[int]]] = frozenset()

    @property
    def wants_nodes(self) -> bool:
        """Whether entries about nodes matter."""
        return bool(self.levels & {_NODE, _ATTEMPT})

    @property
    def wants_attempts(self) -> bool:
        """Whether it takes the rows of attempts to decide."""
        return _ATTEMPT in self.levels or (_NODE in self.levels and self.wants_tasks)

    @property
    def wants_tasks(self) -> bool:
        """Whether it chooses by task."""
        return any(entity.kind == _TASK for entity in self.entities)

    def covers(self, facts: ExecutionFacts) -> bool:
        """Whether anything of the execution can be wanted."""
        if self.ids and facts.id not in self.ids:
            return False
        if self.project and facts.project != self.project:
            return False
        if self.domain and facts.domain != self.domain:
            return False
        if self.executions and facts.name not in self.executions:
            return False
        if self.batches and facts.batch not in self.batches:
            return False
        for key, value in self.labels:
            if key not in facts.labels or (value and facts.labels[key] != value):
                return False
        return not self.entities or self.wants_tasks or self._runs(facts)

    def wants(self, facts: ExecutionFacts, level: int, phase: int, tasks: Sequence[EntityName] = ()) -> bool:
        """Whether a transition is wanted, of an execution that is covered. `tasks`: what the attempt (of a node: any of
        the attempts at hand) ran."""
        if level not in self.levels:
            return False
        for of_level, phases in self.phases:
            if of_level == level and phase not in phases:
                return False
        if not self.entities or self._runs(facts):
            return True
        return any(_names(wanted, task) for wanted in self.entities for task in tasks)

    def _runs(self, facts: ExecutionFacts) -> bool:
        return any(_names(wanted, facts.entity) or _names(wanted, facts.workflow) for wanted in self.entities)


class Index:
    """Matchers by what they cover, so that a thousand of one execution each cost one look."""

    def __init__(self, matchers: Iterable[Matcher] = ()) -> None:
        self._by_name: dict[tuple[str, str, str], list[Matcher]] = {}
        self._by_id: dict[int, list[Matcher]] = {}
        self._others: list[Matcher] = []
        self._count = 0
        self.nodes = 0
        """How many of them want entries about nodes."""
        for matcher in matchers:
            self.add(matcher)

    def __len__(self) -> int:
        return self._count

    @property
    def is_by_id(self) -> bool:
        """Whether executions whose ids nobody names matter to nobody."""
        return not self._by_name and not self._others

    def names(self, execution: int) -> bool:
        """Whether somebody asks for that row id."""
        return execution in self._by_id

    def add(self, matcher: Matcher) -> None:
        """Count it in, once."""
        for places, key in self._places(matcher):
            places.setdefault(key, []).append(matcher)
        if not matcher.ids and not matcher.executions:
            self._others.append(matcher)
        self.nodes += matcher.wants_nodes
        self._count += 1

    def remove(self, matcher: Matcher) -> None:
        """Count it out."""
        for places, key in self._places(matcher):
            places[key].remove(matcher)
            if not places[key]:
                del places[key]
        if not matcher.ids and not matcher.executions:
            self._others.remove(matcher)
        self.nodes -= matcher.wants_nodes
        self._count -= 1

    def covering(self, facts: ExecutionFacts) -> Sequence[Matcher]:
        """Those that something of the execution may matter to."""
        found: list[Matcher] = []
        for matchers in (
            self._by_name.get((facts.project, facts.domain, facts.name), ()),
            self._by_id.get(facts.id, ()),
            self._others,
        ):
            found += [matcher for matcher in matchers if matcher.covers(facts)]
        return found

    def _places(self, matcher: Matcher) -> Iterable["tuple[dict[object, list[Matcher]], object]"]:
        if matcher.ids:
            return [(self._by_id, key) for key in matcher.ids]  # pyright: ignore[reportReturnType]
        return [(self._by_name, (matcher.project, matcher.domain, name)) for name in matcher.executions]  # pyright: ignore[reportReturnType]


def ends_of(ids: Iterable[int]) -> Matcher:
    """The ends of these executions."""
    return Matcher(
        frozenset({_EXECUTION}),
        ids=frozenset(ids),
        phases=frozenset({(int(_EXECUTION), frozenset(int(phase) for phase in EXECUTION_FINAL))}),
    )


def matcher_of(request: watch_pb2.WatchTransitionsRequest) -> Matcher:
    """Raises ApiError INVALID_ARGUMENT with field violations."""
    asked = request.filter
    levels = frozenset(int(level) for level in request.levels) or frozenset({int(_EXECUTION)})
    if levels - _KNOWN_LEVELS:
        _refuse("levels", f"there is no level {min(levels - _KNOWN_LEVELS)}")
    for field in ("project", "domain"):
        _check_text(f"filter.{field}", getattr(asked, field))
    for field, values, count_max in (
        ("executions", asked.executions, EXECUTIONS_MAX),
        ("batches", asked.batches, BATCHES_MAX),
    ):
        if values and not (asked.project and asked.domain):
            _refuse(f"filter.{field}", "names need the project and the domain that they belong to")
        _check_count(f"filter.{field}", len(values), count_max)
        for number, value in enumerate(values):
            _check_text(f"filter.{field}[{number}]", value, needed=True)
    _check_count("filter.labels", len(asked.labels), LABELS_MAX)
    for key, value in asked.labels.items():
        _check_text("filter.labels", key, needed=True)
        _check_text("filter.labels", value)
    _check_count("filter.entities", len(asked.entities), ENTITIES_MAX)
    return Matcher(
        levels=levels,
        with_outputs=request.with_outputs,
        project=asked.project,
        domain=asked.domain,
        executions=frozenset(asked.executions),
        batches=frozenset(asked.batches),
        labels=frozenset(asked.labels.items()),
        entities=frozenset(_entity(number, entity) for number, entity in enumerate(asked.entities)),
        phases=_phases(asked),
    )


def _phases(asked: watch_pb2.TransitionFilter) -> frozenset[tuple[int, frozenset[int]]]:
    chosen: Mapping[int, tuple[str, frozenset[int], Sequence[int]]] = {
        _EXECUTION: (
            "execution_phases",
            frozenset(int(phase) for phase in asked.execution_phases),
            identity_pb2.ExecutionPhase.values(),
        ),
        _NODE: (
            "node_phases",
            frozenset(int(phase) for phase in asked.node_phases),
            identity_pb2.NodePhase.values(),
        ),
        _ATTEMPT: (
            "attempt_phases",
            frozenset(int(phase) for phase in asked.attempt_phases),
            transition_pb2.AttemptPhase.values(),
        ),
    }
    for field, phases, known in chosen.values():
        if unknown := phases.difference(known):
            _refuse(f"filter.{field}", f"there is no phase {min(unknown)}")
    return frozenset((int(level), phases) for level, (_, phases, _) in chosen.items() if phases)


def _entity(number: int, entity: watch_pb2.EntityFilter) -> EntityName:
    field = f"filter.entities[{number}]"
    if entity.kind not in transition_pb2.EntityKind.values() or not entity.kind:
        _refuse(f"{field}.kind", "a launch plan, a workflow or a task: say which")
    for part in ("project", "domain", "name", "version"):
        _check_text(f"{field}.{part}", getattr(entity, part))
    return EntityName(int(entity.kind), entity.project, entity.domain, entity.name, entity.version)


def _names(wanted: EntityName, entity: EntityName) -> bool:
    return (
        wanted.kind == entity.kind
        and wanted.name in ("", entity.name)
        and wanted.version in ("", entity.version)
        and wanted.project in ("", entity.project)
        and wanted.domain in ("", entity.domain)
    )


def _check_count(field: str, count: int, count_max: int) -> None:
    if count > count_max:
        _refuse(field, f"there are {count}, at most {count_max} are taken")


def _check_text(field: str, text: str, *, needed: bool = False) -> None:
    if needed and not text:
        _refuse(field, "it is empty")
    if len(text) > _TEXT_LENGTH_MAX or "\0" in text:
        _refuse(field, "it names nothing that can be stored")


def _refuse(field: str, reason: str) -> NoReturn:
    raise bad_field(field, f"{field}: {reason}")
