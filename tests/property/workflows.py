"""Random workflows for property tests: plans with chains, fans, diamonds and nested sub-workflows, and what a straight
sequential interpreter makes of them."""

import random
from dataclasses import dataclass, field

from flyteidl.core import literals_pb2, tasks_pb2

from wingbeat_propeller.core.bindings import BindingProgram, Constant, Entries, Items, Promise
from wingbeat_propeller.core.plan import END, START, FailurePolicy, NodeKind, Plan, TaskSpec

INPUT = "x"
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
    goals: list[Plan | TaskSpec | None] = [None, None]
    upstream: list[set[int]] = [set(), set()]
    for index in range(2, size + 2):
        before = [START, *range(2, index)]
        nested = depth < 2 and rng.random() < 0.2
        kinds.append(NodeKind.WORKFLOW if nested else NodeKind.TASK)
        inner = f"{name}.{index}"
        goals.append(random_plan(rng, depth=depth + 1, name=inner) if nested else _task(f"{name}.t{index}"))
        binding = _binding(rng, before)
        programs.append(_program(INPUT, binding))
        upstream.append(set(programs[index].sources) | {rng.choice(before) for _ in range(rng.randint(0, 1))})
    programs[END] = _program(OUTPUT, _binding(rng, [START, *range(2, size + 2)]))
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


def _program(var: str, binding: Constant | Promise | Items | Entries) -> BindingProgram:
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

    walk(binding)
    return BindingProgram(((var, binding),), tuple(sources))


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
    for target in plan.targets:
        if isinstance(target, TaskSpec):
            names.append(target.name)
        elif isinstance(target, Plan):
            names += plan_tasks(target)
    return names


def task_result(name: str, value: int) -> int:
    """What a task makes of the sum of its input."""
    return (value * 31 + len(name) + sum(map(ord, name))) % 1_000_003


class RunFailed(Exception):  # noqa: N818 - not an error of the program
    """The interpreted workflow fails; carries the attempts that each task would have made, where reached."""


def interpret(plan: Plan, value: int, behaviours: dict[str, Behaviour]) -> int:
    """Run a workflow straight through, in topological order; returns its output. Raises RunFailed."""
    outputs: dict[int, int] = {START: value}
    for index in range(2, plan.size):
        given = _evaluate(plan.bindings[index].bindings[0][1], outputs)
        if plan.kinds[index] is NodeKind.WORKFLOW:
            outputs[index] = interpret(plan.sub_plan(index), given, behaviours)
            continue
        task = plan.task(index)
        if not succeeds(behaviours[task.name], plan.attempts_max[index]):
            raise RunFailed(task.name)
        outputs[index] = task_result(task.name, given)
    return _evaluate(plan.bindings[END].bindings[0][1], outputs)


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
