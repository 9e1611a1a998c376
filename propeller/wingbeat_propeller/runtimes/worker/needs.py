"""Who may run what: the needs of a task, what a worker announces, and whether they meet. No I/O.

A task goes to workers only if a long-lived process can do what its container would: it runs one of flytekit's programs,
wants its inputs and outputs as flytekit reads and writes them, and asks for nothing that is read when an interpreter
starts. Tasks ask for a kind of worker by labels: in the variable WINGBEAT_WORKER of the task (`pool=gpu,zone=a`), and
by labels of the execution that begin with `worker.wingbeat.dev/`; the latter win.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.quantities import parse_quantity
from wingbeat_propeller.ports.tasks import BadTaskError
from wingbeat_propeller.runtimes.local.programs import LOCAL_IMAGE_PREFIX, runs_in_fork
from wingbeat_propeller.runtimes.local.wingbeat_task_host.flytekit_entry import EXECUTE, FAST_EXECUTE, MAP_EXECUTE
from wingbeat_propeller.tasks.container import container_of

LABELS_VARIABLE = "WINGBEAT_WORKER"
LABEL_PREFIX = "worker.wingbeat.dev/"
_PROGRAMS = (EXECUTE, FAST_EXECUTE, MAP_EXECUTE)


class Needs(NamedTuple):
    """What a task needs of a worker."""

    image: str
    task_type: str
    labels: tuple[tuple[str, str], ...] = ()
    cpus: float = 0.0
    memory_bytes: float = 0.0

    def __str__(self) -> str:
        parts = [f"image {self.image!r}", f"task type {self.task_type!r}"]
        parts += [f"label {key}={value}" for key, value in self.labels]
        if self.cpus:
            parts.append(f"{self.cpus:g} CPUs")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / (1 << 20):g} MiB of memory")
        return ", ".join(parts)

    def with_labels(self, labels: Mapping[str, str]) -> "Needs":
        """With what the labels of an execution ask for."""
        asked = {key[len(LABEL_PREFIX) :]: value for key, value in labels.items() if key.startswith(LABEL_PREFIX)}
        return self._replace(labels=tuple(sorted({**dict(self.labels), **asked}.items()))) if asked else self


class Announcement(NamedTuple):
    """What a worker can run."""

    images: frozenset[str] = frozenset()
    """Empty: every image without an environment of its own."""
    task_types: frozenset[str] = frozenset()
    """Empty: all."""
    labels: Mapping[str, str] = {}
    cpus: float = 0.0
    """0: not known."""
    memory_bytes: float = 0.0

    def meets(self, needs: Needs, environments: Mapping[str, str]) -> bool:
        """Whether the worker may run a task with these needs; `environments` are the images with one of their own."""
        if self.images:
            if needs.image not in self.images:
                return False
        elif needs.image in environments or needs.image.startswith(LOCAL_IMAGE_PREFIX):
            return False
        if self.task_types and needs.task_type not in self.task_types:
            return False
        if any(self.labels.get(key) != value for key, value in needs.labels):
            return False
        return not (
            (self.cpus and needs.cpus > self.cpus) or (self.memory_bytes and needs.memory_bytes > self.memory_bytes)
        )


def needs_of(template: tasks_pb2.TaskTemplate) -> Needs | None:
    """What a task needs of a worker, None when no worker can run it."""
    try:
        container = container_of(template)
    except BadTaskError:
        return None  # the plugin says what is wrong with it
    argv = [*container.command, *container.args]
    if not argv or PurePosixPath(argv[0]).name not in _PROGRAMS or template.metadata.is_eager:
        return None
    if container.data_config.enabled or template.k8s_pod.data_config.enabled:
        return None
    env = {pair.key: pair.value for pair in container.env}
    if not runs_in_fork(argv, env):
        return None
    return Needs(
        image=container.image,
        task_type=template.type,
        labels=parse_labels(env.get(LABELS_VARIABLE, "")),
        cpus=_asked(container.resources, tasks_pb2.Resources.CPU),
        memory_bytes=_asked(container.resources, tasks_pb2.Resources.MEMORY),
    )


def runs_with(envs: Mapping[str, str], argv: Sequence[str] = (EXECUTE,)) -> bool:
    """Whether the environment that an execution asks for can be had in a process that runs already."""
    return not envs or runs_in_fork(argv, envs)


def parse_labels(text: str) -> tuple[tuple[str, str], ...]:
    """Labels as a task asks for them: `k=v,k=v`. What is no pair is left out."""
    pairs = (part.strip().partition("=") for part in text.split(","))
    return tuple(sorted((key, value) for key, equals, value in pairs if key and equals))


def _asked(resources: tasks_pb2.Resources, name: int) -> float:
    """The larger of request and limit; 0 when there is neither, or it cannot be read (the plugin reports that)."""
    found = [entry.value for entry in (*resources.requests, *resources.limits) if entry.name == name]
    try:
        return max((float(parse_quantity(value)) for value in found), default=0.0)
    except ValueError:
        return 0.0
