"""Template variables in the command line of a task.

A task template carries strings like `{{.outputPrefix}}` in its command and args. `render` replaces them element by
element from the context of one attempt; nothing is split or joined, so an empty argument survives. Names are matched
without regard to case, `{{ $x }}` means the same as `{{ .x }}`, and what is no known variable stays as it stands:
flytekit itself treats some unreplaced variables as absent. A replaced value is never scanned again.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.ports.tasks import TaskContext
from wingbeat_propeller.tasks.literal_text import UnprintableLiteralError, literal_text

TASK_TEMPLATE_FILE = "task.pb"
"""Name of the serialized TaskTemplate below the input prefix, for containers that ask for `{{.taskTemplatePath}}`."""

# Names have a bound, so that a text of nothing but beginnings of variables is read in linear time.
_VARIABLE = re.compile(r"\{\{\s*[.$]([^}\s]{1,300})\s*\}\}")
_INPUT = re.compile(r"\{\{\s*[.$]inputs\.[^}\s]{1,300}\s*\}\}", re.IGNORECASE)
_TASK_TEMPLATE = re.compile(r"\{\{\s*[.$]tasktemplatepath\s*\}\}", re.IGNORECASE)
_INPUT_PREFIX = "inputs."

_VARIABLES: Mapping[str, Callable[[TaskContext], str]] = {
    "input": lambda context: context.input_uri,
    "inputprefix": lambda context: context.input_prefix,
    "outputprefix": lambda context: context.output_prefix,
    "rawoutputdataprefix": lambda context: context.raw_output_prefix,
    "checkpointoutputprefix": lambda context: context.checkpoint_prefix,
    "prevcheckpointprefix": lambda context: context.previous_checkpoint_prefix or '""',
    "perretryuniquekey": lambda context: per_retry_unique_key(context.generated_name),
    "tasktemplatepath": lambda context: f"{context.input_prefix}/{TASK_TEMPLATE_FILE}",
    "namespace": lambda context: f"{context.execution_project}-{context.execution_domain}",
}


class TemplateError(ValueError):
    """A variable cannot be rendered; the message names it and says why."""


def render(elements: Sequence[str], context: TaskContext, inputs: Mapping[str, bytes] | None) -> list[str]:
    """Render every element of a command line.

    `inputs` are serialized literals by name; None means they were not loaded, and then asking for one is an error. A
    task without any inputs keeps `{{.inputs.x}}` as text. Raises TemplateError.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name[: len(_INPUT_PREFIX)].lower() == _INPUT_PREFIX:
            return _input_text(match[0], name[len(_INPUT_PREFIX) :], inputs)
        variable = _VARIABLES.get(name.lower())
        return variable(context) if variable else match[0]

    return [_VARIABLE.sub(replace, element) if "{{" in element else element for element in elements]


def per_retry_unique_key(name: str) -> str:
    """The attempt's name as an identifier that SQL engines accept: it starts with a letter, others become `_`."""
    return re.sub(r"[^a-zA-Z0-9_]+", "_", re.sub(r"^[^a-zA-Z_]+", "a", name))


def mentions_inputs(elements: Iterable[str]) -> bool:
    """Whether rendering these elements looks at an input value."""
    return any(_INPUT.search(element) for element in elements)


def mentions_task_template(elements: Iterable[str]) -> bool:
    """Whether rendering these elements names the file that holds the task template."""
    return any(_TASK_TEMPLATE.search(element) for element in elements)


def _input_text(variable: str, name: str, inputs: Mapping[str, bytes] | None) -> str:
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
