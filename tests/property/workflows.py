"""Random workflows for property tests: plans with chains, fans, diamonds, nested sub-workflows and arrays, and what a
straight sequential interpreter makes of them."""

import dataclasses
import random
from dataclasses import dataclass, field
from fractions import Fraction

from flyteidl.core import literals_pb2, tasks_pb2

from wingbeat_propeller.core.bindings import BindingProgram, Constant, Entries, Items, Promise
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.plan import END, START, ArraySpec, FailurePolicy, NodeKind, Plan, TaskSpec

INPUT = "x"
WHOLE = "w"
"""Input of arrays over tasks that every element gets whole."""
OUTPUT = "o0"


def integer(value: int) -> bytes:
    """A serialized integer literal."""
    primitive = literals_pb2.Primitive(integer=value)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive)).SerializeToString()


def total(literal: bytes) -> int:
    """Sum of all integers anywhere in a literal."""
    return _total(literals_pb2.Literal.FromString(literal))


def _total(literal: literals_pb2.Literal) -> int:
    match literal.WhichOneof("value"):
        case "collection":
            return sum(_total(element) for element in literal.collection.literals)
        case "map":
            return sum(_total(entry) for entry in literal.map.literals.values())
        case _:
            return literal.scalar.primitive.integer


def item(literal: bytes, index: int) -> bytes:
    """An element of a serialized collection literal."""
    return literals_pb2.Literal.FromString(literal).collection.literals[index].SerializeToString()


@dataclass
class Behaviour:
    """What happens to the attempts of one task: outcomes in order, the last one repeated."""

    outcomes: list[str] = field(default_factory=lambda: ["ok"])

    def of(self, attempt: int) -> str:
        """`ok`, `user` (recoverable), `system` (recoverable) or `fatal`."""
        return self.outcomes[min(attempt, len(self.outcomes) - 1)]


def random_plan(rng: random.Random, *, depth: int = 0, name: str = "wf") -> Plan:
    """A plan of up to a dozen nodes a level, up to two levels of sub-workflows below."""
    size = rng.randint(0, 6 if depth else 10)
    policy = FailurePolicy(rng.randint(0, 1))
    ids = ["start-node", "end-node", *(f"n{i}" for i in range(size))]
    kinds = [NodeKind.START, NodeKind.END]
    programs = [BindingProgram(), BindingProgram()]
    goals: list[Plan | TaskSpec | ArraySpec | None] = [None, None]
    upstream: list[set[int]] = [set(), set()]
    for index in range(2, size + 2):
        before = [START, *range(2, index)]
        kind = rng.choices(
            [NodeKind.TASK, NodeKind.WORKFLOW, NodeKind.ARRAY], weights=[7, 2, 2] if depth < 2 else [8, 0, 1]
        )[0]
        kinds.append(kind)
        inner = f"{name}.{index}"
        if kind is NodeKind.ARRAY:
            array = _array(rng, depth=depth, name=inner)
            goals.append(array)
            given: dict[str, Constant | Promise | Items | Entries] = {INPUT: _list(rng, before)}
            if WHOLE in array.bound_inputs:
                given[WHOLE] = _binding(rng, before)
            programs.append(_program(**given))
        else:
            is_plan = kind is NodeKind.WORKFLOW
            goals.append(random_plan(rng, depth=depth + 1, name=inner) if is_plan else _task(f"{name}.t{index}"))
            programs.append(_program(**{INPUT: _binding(rng, before)}))
        upstream.append(set(programs[index].sources) | {rng.choice(before) for _ in range(rng.randint(0, 1))})
    programs[END] = _program(**{OUTPUT: _binding(rng, [START, *range(2, size + 2)])})
    successors: list[list[int]] = [[] for _ in ids]
    for index in range(2, size + 2):
        for source in upstream[index] or {START}:
            successors[source].append(index)
    for index in [START, *range(2, size + 2)]:
        if index in programs[END].sources or not successors[index]:
            successors[index].append(END)
    indegree = [0] * len(ids)
    for targets in successors:
        for target in targets:
            indegree[target] += 1
    uses = [0] * len(ids)
    for program in programs:
        for source in program.sources:
            uses[source] += 1
    count = len(ids)
    return Plan(
        name=name,
        policy=policy,
        ids=tuple(ids),
        names=tuple(ids),
        kinds=tuple(kinds),
        indegree=tuple(indegree),
        successors=tuple(tuple(targets) for targets in successors),
        bindings=tuple(programs),
        uses=tuple(uses),
        targets=tuple(goals),
        owners=(-1,) * count,
        failure_node=None,
        attempts_max=tuple(rng.randint(1, 3) for _ in range(count)),
        timeout_s=(0.0,) * count,
        interruptible=(None,) * count,
        interruptible_default=False,
        input_names=(INPUT,),
        output_names=(OUTPUT,),
    )


def _task(name: str) -> TaskSpec:
    template = tasks_pb2.TaskTemplate(type="test")
    return TaskSpec("p", "d", name, "v", "test", template, output_names=(OUTPUT,), wants_deck=False)


def _array(rng: random.Random, *, depth: int, name: str) -> ArraySpec:
    """An array over a task that reads whole lists or picked items, or over a plan."""
    is_plan = depth < 2 and rng.random() < 0.3
    has_whole = not is_plan and rng.random() < 0.5
    element = random_plan(rng, depth=depth + 1, name=f"{name}.e") if is_plan else _task(f"{name}.e")
    return ArraySpec(
        project="p",
        domain="d",
        name=name,
        version="v",
        element=element,
        bound_inputs=frozenset({WHOLE} if has_whole else ()),
        picks=is_plan or rng.random() < 0.5,
        appends_index=False,
        parallelism=rng.choice([0, 0, 1, 2]),
        min_successes=rng.choice([None, None, 1]),
        min_success_ratio=Fraction(rng.choice([2, 2, 1, 0]), 2),
        runs_all=rng.random() < 0.3,
        attempts_max=rng.randint(1, 3),
        timeout_s=0.0,
        interruptible=None,
        input_names=(INPUT, WHOLE) if has_whole else (INPUT,),
        output_names=(OUTPUT,),
    )


def _list(rng: random.Random, before: list[int]) -> Items:
    """A list of known length."""
    return Items(tuple(_binding(rng, before, 1) for _ in range(rng.choice([0, 1, 2, 3, 5, 8]))))


def _program(**bindings: Constant | Promise | Items | Entries) -> BindingProgram:
    sources: dict[int, None] = {}

    def walk(node: Constant | Promise | Items | Entries) -> None:
        match node:
            case Promise():
                sources[node.node] = None
            case Items():
                for element in node.elements:
                    walk(element)
            case Entries():
                for _, entry in node.entries:
                    walk(entry)
            case Constant():
                pass

    for binding in bindings.values():
        walk(binding)
    return BindingProgram(tuple(bindings.items()), tuple(sources))


def _binding(rng: random.Random, before: list[int], depth: int = 0) -> Constant | Promise | Items | Entries:
    roll = rng.random()
    if depth < 2 and roll < 0.15:
        return Items(tuple(_binding(rng, before, depth + 1) for _ in range(rng.randint(0, 3))))
    if depth < 2 and roll < 0.25:
        return Entries(tuple((f"k{i}", _binding(rng, before, depth + 1)) for i in range(rng.randint(0, 2))))
    if roll < 0.35:
        return Constant(integer(rng.randint(-9, 9)))
    source = rng.choice(before)
    return Promise(source, INPUT if source == START else OUTPUT)


def plan_tasks(plan: Plan) -> list[str]:
    """Names of all tasks of a plan, nested ones included."""
    names: list[str] = []
    pending = list(plan.targets)
    while pending:
        match pending.pop(0):
            case TaskSpec(name=name):
                names.append(name)
            case Plan(targets=targets):
                pending += targets
            case ArraySpec(element=element):
                pending.append(element)
            case _:
                pass
    return names


def keeping(plan: Plan, rng: random.Random) -> Plan:
    """The same plan with some of its sub-workflow nodes cached as a whole, at any depth."""
    targets = tuple(keeping(target, rng) if isinstance(target, Plan) else target for target in plan.targets)
    cached = {
        node: CachedTask("p", "d", target.name, "v", "1", b"", is_workflow=True)
        for node, target in enumerate(targets)
        if isinstance(target, Plan) and rng.random() < 0.7
    }
    return dataclasses.replace(plan, targets=targets, cached_workflows=cached)


Behaviours = dict[str, list[Behaviour]]
"""By task name: what happens to its attempts, in as many ways as there are inputs that make a difference."""


def behaviour_of(behaviours: Behaviours, name: str, value: int) -> Behaviour:
    """What happens to the attempts of a task whose input sums up to `value`."""
    variants = behaviours[name]
    return variants[value % len(variants)]


def task_result(name: str, value: int) -> int:
    """What a task makes of the sum of its input."""
    return (value * 31 + len(name) + sum(map(ord, name))) % 1_000_003


class RunFailed(Exception):  # noqa: N818 - not an error of the program
    """The interpreted workflow fails, at the task that is named."""


def interpret(plan: Plan, value: int, behaviours: Behaviours) -> int:
    """Run a workflow straight through, in topological order; returns its output. Raises RunFailed."""
    outputs: dict[int, int] = {START: value}
    for index in range(2, plan.size):
        bindings = dict(plan.bindings[index].bindings)
        match plan.targets[index]:
            case Plan() as inner:
                outputs[index] = interpret(inner, _evaluate(bindings[INPUT], outputs), behaviours)
            case ArraySpec() as array:
                items = bindings[INPUT]
                assert isinstance(items, Items)
                whole = _evaluate(bindings[WHOLE], outputs) if WHOLE in bindings else 0
                given = [_evaluate(element, outputs) + whole for element in items.elements]
                outputs[index] = _interpret_array(array, given, behaviours)
            case _:
                given_to_task = _evaluate(bindings[INPUT], outputs)
                outputs[index] = _interpret_task(plan.task(index), given_to_task, behaviours, plan.attempts_max[index])
    return _evaluate(plan.bindings[END].bindings[0][1], outputs)


def _interpret_array(array: ArraySpec, given: list[int], behaviours: Behaviours) -> int:
    results: list[int] = []
    for value in given:
        try:
            if isinstance(array.element, Plan):
                results.append(interpret(array.element, value, behaviours))
            else:
                results.append(_interpret_task(array.element, value, behaviours, array.attempts_max))
        except RunFailed:
            continue
    if len(results) < array.successes_needed(len(given)):
        raise RunFailed(array.name)
    return sum(results)


def _interpret_task(task: TaskSpec, value: int, behaviours: Behaviours, attempts_max: int) -> int:
    if not succeeds(behaviour_of(behaviours, task.name, value), attempts_max):
        raise RunFailed(task.name)
    return task_result(task.name, value)


def succeeds(behaviour: Behaviour, attempts_max: int, system_retries_max: int = 3) -> bool:
    """Whether the budgets suffice for an attempt that is `ok`."""
    return attempts(behaviour, attempts_max, system_retries_max)[1]


def attempts(behaviour: Behaviour, attempts_max: int, system_retries_max: int = 3) -> tuple[int, bool]:
    """Number of attempts made, and whether the last one succeeded."""
    user = system = 0
    for attempt in range(1000):
        match behaviour.of(attempt):
            case "ok":
                return attempt + 1, True
            case "user":
                user += 1
                if user >= attempts_max:
                    return attempt + 1, False
            case "system":
                system += 1
                if system > system_retries_max:
                    return attempt + 1, False
            case _:
                return attempt + 1, False
    raise AssertionError("budgets are finite")


def _evaluate(binding: Constant | Promise | Items | Entries, outputs: dict[int, int]) -> int:
    match binding:
        case Constant():
            return total(binding.literal)
        case Promise():
            return outputs[binding.node]
        case Items():
            return sum(_evaluate(element, outputs) for element in binding.elements)
        case Entries():
            return sum(_evaluate(entry, outputs) for _, entry in binding.entries)
