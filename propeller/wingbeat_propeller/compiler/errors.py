"""What a compiler run reports: all mistakes it found, not only the first.

Codes are Flyte v1's. Checks report into an `ErrorCollector` and go on; the entry points raise one
`CompilationFailedError` with everything that was collected.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

ERRORS_MAX = 100
"""Errors kept of one run, the others are counted; thousands of nodes can be wrong thousands of times."""

_QUOTE_CHARACTERS_MAX = 2000


class ErrorCode(StrEnum):
    """Names of the mistakes, as clients see them."""

    AMBIGUOUS_BINDING_UNION_VALUE = "AmbiguousBindingUnionValue"
    BRANCH_NODE_HAS_NO_CONDITION = "BranchNodeHasNoCondition"
    BRANCH_NODE_HAS_NO_DEFAULT = "BranchNodeHasNoDefault"
    BRANCH_NODE_ID_NOT_FOUND = "BranchNodeIdNotFound"
    CYCLE_DETECTED = "CycleDetected"
    DUPLICATE_ALIAS = "DuplicateAlias"
    DUPLICATE_ID = "DuplicateId"
    FIELD_NOT_FOUND = "FieldNotFound"
    ILLEGAL_ENUM_VALUE = "IllegalEnumValue"
    INCOMPATIBLE_BINDING_UNION_VALUE = "IncompatibleBindingUnionValue"
    INVALID_VALUE = "InvalidValue"
    MISMATCHING_BINDINGS = "MismatchingBindings"
    MISMATCHING_TYPES = "MismatchingTypes"
    NO_CONDITION_FOUND = "NoConditionFound"
    NO_NODES_FOUND = "NoNodesFound"
    NODE_REFERENCE_NOT_FOUND = "NodeReferenceNotFound"
    PARAMETER_BOUND_MORE_THAN_ONCE = "ParameterBoundMoreThanOnce"
    PARAMETER_NOT_BOUND = "ParameterNotBound"
    SYNTAX_ERROR = "SyntaxError"
    TASK_REFERENCE_NOT_FOUND = "TaskReferenceNotFound"
    UNREACHABLE_NODES = "UnreachableNodes"
    UNRECOGNIZED_VALUE = "UnrecognizedValue"
    VALUE_COLLISION = "ValueCollision"
    VALUE_REQUIRED = "ValueRequired"
    VARIABLE_NAME_NOT_FOUND = "VariableNameNotFound"
    WORKFLOW_BUILD_ERROR = "WorkflowBuildError"
    WORKFLOW_REFERENCE_NOT_FOUND = "WorkflowReferenceNotFound"


@dataclass(frozen=True, slots=True)
class CompileError:
    """One mistake: what kind, at which node (or workflow), and a sentence without its full stop."""

    code: ErrorCode
    node_id: str
    description: str

    def __str__(self) -> str:
        return f"Code: {self.code}, Node Id: {self.node_id}, Description: {self.description}."


class CompilationFailedError(Exception):
    """The template cannot be compiled. `errors` holds the mistakes found; the text lists them, one a line.

    `omitted` counts mistakes beyond ERRORS_MAX.
    """

    def __init__(self, errors: Sequence[CompileError], *, omitted: int = 0) -> None:
        self.errors = tuple(errors)
        self.omitted = omitted
        lines = [f"Collected Errors: {len(self.errors) + omitted}"]
        lines += [f"\tError {position}: {error}" for position, error in enumerate(self.errors)]
        lines += [f"\t... and {omitted} more"] if omitted else []
        super().__init__("\n".join(lines))


class ErrorCollector:
    """Gathers the mistakes of one run: the first ERRORS_MAX of them, each once, and how many more there are."""

    def __init__(self) -> None:
        self._errors: dict[CompileError, None] = {}
        self._omitted = 0
        self._place = ""

    def __len__(self) -> int:
        return len(self._errors) + self._omitted

    def report(self, code: ErrorCode, node_id: str, description: str) -> None:
        """Keep a mistake; `description` is a sentence without its full stop."""
        error = CompileError(code, node_id, description + self._place)
        if len(self._errors) < ERRORS_MAX:
            self._errors[error] = None
        elif error not in self._errors:
            self._omitted += 1

    @contextmanager
    def within(self, place: str) -> Generator[None]:
        """Mistakes reported inside name `place` too, for node ids alone do not say which sub-workflow is meant."""
        outer, self._place = self._place, f" (in {place})"
        try:
            yield
        finally:
            self._place = outer

    def raise_if_any(self) -> None:
        """Raises CompilationFailedError when something was reported."""
        if self._errors:
            raise CompilationFailedError(tuple(self._errors), omitted=self._omitted)


def shorten(text: str) -> str:
    """`text` fit to be quoted in a message: long ones lose their middle."""
    if len(text) <= _QUOTE_CHARACTERS_MAX:
        return text
    half = _QUOTE_CHARACTERS_MAX // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"
