"""Template variables in the command line of a task.

A task template carries strings like `{{.outputPrefix}}` in its command and args. They are looked for
once, and replaced element by element from the context of each attempt; nothing is split or joined, so an empty argument
survives. Names are matched without regard to case, `{{ $x }}` means the same as `{{ .x }}`, and what is no known
variable stays as it stands: flytekit itself treats some unreplaced variables as absent. A replaced value is never
scanned again.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.ports.tasks import TaskContext
from wingbeat_propeller.tasks.literal_text import UnprintableLiteralError, literal_text

TASK_TEMPLATE_FILE = "task.pb"
"""Name of the serialized TaskTemplate below the input prefix, for containers that ask for `{{.taskTemplatePath}}`."""

# Names have a bound, so that a text of nothing but beginnings of variables is read in linear time.
_VARIABLE = re.compile(r"\{\{\s*[.$]([^}\s]{1,300})\s*\}\}")
_INPUT_PREFIX = "inputs."

_TASK_TEMPLATE = "tasktemplatepath"

_Inputs: TypeAlias = Mapping[str, bytes] | None
_Variable: TypeAlias = Callable[[TaskContext, _Inputs], str]

_VARIABLES: Mapping[str, _Variable] = {
    "input": lambda context, _: context.input_uri,
    "inputprefix": lambda context, _: context.input_prefix,
    "outputprefix": lambda context, _: context.output_prefix,
    "rawoutputdataprefix": lambda context, _: context.raw_output_prefix,
    "checkpointoutputprefix": lambda context, _: context.checkpoint_prefix,
    "prevcheckpointprefix": lambda context, _: context.previous_checkpoint_prefix or '""',
    "perretryuniquekey": lambda context, _: per_retry_unique_key(context.generated_name),
    _TASK_TEMPLATE: lambda context, _: f"{context.input_prefix}/{TASK_TEMPLATE_FILE}",
    "namespace": lambda context, _: f"{context.execution_project}-{context.execution_domain}",
}


class TemplateError(ValueError):
    """A variable cannot be rendered; the message names it and says why."""


class CommandLine:
    """A command line as a task template has it, read once for all attempts."""

    def __init__(self, elements: Iterable[str]) -> None:
        self.mentions_inputs = False
        """Whether rendering looks at an input value."""
        self.mentions_task_template = False
        """Whether it names the file that holds the task template."""
        self._elements = [self._read(element) for element in elements]

    def render(self, context: TaskContext, inputs: Mapping[str, bytes] | None) -> list[str]:
        """Every element with its variables replaced.

        `inputs` are serialized literals by name; None means they were not loaded, and then asking for one is an error.
        A task without any inputs keeps `{{.inputs.x}}` as text. Raises TemplateError.
        """
        rendered: list[str] = []
        for element in self._elements:
            if isinstance(element, str):
                rendered.append(element)
            elif callable(element):
                rendered.append(element(context, inputs))
            else:
                rendered.append("".join([one if isinstance(one, str) else one(context, inputs) for one in element]))
        return rendered

    def _read(self, element: str) -> str | _Variable | Sequence[str | _Variable]:
        """The text and the variables that an element consists of; without a sequence where that is but one."""
        parts: list[str | _Variable] = []
        end = 0
        for match in _VARIABLE.finditer(element):
            variable = self._variable(match)
            if variable is not None:
                parts += [element[end : match.start()], variable]
                end = match.end()
        parts = [part for part in (*parts, element[end:]) if part]
        return parts[0] if len(parts) == 1 else parts or element

    def _variable(self, match: re.Match[str]) -> _Variable | None:
        name = match[1]
        lowered = name.lower()
        if lowered.startswith(_INPUT_PREFIX):
            self.mentions_inputs |= len(name) > len(_INPUT_PREFIX)
            return partial(_input_text, match[0], name[len(_INPUT_PREFIX) :])
        self.mentions_task_template |= lowered == _TASK_TEMPLATE
        return _VARIABLES.get(lowered)


def per_retry_unique_key(name: str) -> str:
    """The attempt's name as an identifier that SQL engines accept: it starts with a letter, others become `_`."""
    return re.sub(r"[^a-zA-Z0-9_]+", "_", re.sub(r"^[^a-zA-Z_]+", "a", name))


def _input_text(variable: str, name: str, _: TaskContext, inputs: _Inputs) -> str:
    if inputs is None:
        raise TemplateError(f"{variable}: the inputs of the task were not loaded")
    if not inputs:
        return variable
    data = inputs.get(name)
    if data is None:
        known = ", ".join(sorted(inputs))
        raise TemplateError(f"{variable}: the task has no input named {name!r}; it has {known}")
    try:
        return literal_text(literals_pb2.Literal.FromString(data))
    except UnprintableLiteralError as error:
        raise TemplateError(f"{variable}: {error}") from error
    except DecodeError as error:
        raise TemplateError(f"{variable}: the value is no serialized literal") from error
