"""Which tasks workers can run, and which worker may run which task."""

import pytest
from flyteidl.core import tasks_pb2

from wingbeat_propeller.runtimes.worker.needs import Announcement, Needs, needs_of, parse_labels, runs_with

ARGS = ["pyflyte-execute", "--inputs", "{{.input}}", "--resolver", "r", "--", "task-module", "m", "task-name", "t"]


def template(args: list[str] | None = None, env: dict[str, str] | None = None) -> tasks_pb2.TaskTemplate:
    """A Python task."""
    task = tasks_pb2.TaskTemplate(type="python-task")
    task.container.image = "img"
    task.container.args.extend(ARGS if args is None else args)
    for key, value in (env or {}).items():
        task.container.env.add(key=key, value=value)
    return task


def test_a_python_task_needs_its_image_and_type() -> None:
    """What flytekit's program runs, a worker can run."""
    assert needs_of(template()) == Needs("img", "python-task")
    assert needs_of(template(["/opt/venv/bin/pyflyte-map-execute", *ARGS[1:]])) == Needs("img", "python-task")


@pytest.mark.parametrize(
    "args",
    [
        ["sh", "-c", "true"],
        [],
        ["pyflyte-fast-execute", "--additional-distribution", "a.tar.gz", "--dest-dir", ".", "--", "sh", "-c", "true"],
    ],
)
def test_other_programs_are_not_for_workers(args: list[str]) -> None:
    """A program of its own needs a process of its own."""
    assert needs_of(template(args)) is None


def test_what_is_read_when_an_interpreter_starts_is_not_for_workers() -> None:
    """Neither the task's environment nor the execution's may hold such variables."""
    assert needs_of(template(env={"PYTHONHASHSEED": "0"})) is None
    assert needs_of(template(env={"_F_RUNTIME_PACKAGES": "left-pad"})) is None
    assert not runs_with({"LD_PRELOAD": "x.so"})
    assert runs_with({"ANYTHING": "else"})


def test_eager_tasks_and_raw_containers_are_not_for_workers() -> None:
    """An eager task waits for others and would hold a slot for them; files are copied by another program."""
    eager = template()
    eager.metadata.is_eager = True
    assert needs_of(eager) is None
    raw = template()
    raw.container.data_config.enabled = True
    assert needs_of(raw) is None


def test_resources_and_labels_are_needs() -> None:
    """The larger of request and limit counts; labels come from the task, and from the execution, which wins."""
    task = template(env={"WINGBEAT_WORKER": "pool=gpu, zone=a,nonsense,=x"})
    task.container.resources.requests.add(name=tasks_pb2.Resources.CPU, value="500m")
    task.container.resources.limits.add(name=tasks_pb2.Resources.CPU, value="2")
    task.container.resources.limits.add(name=tasks_pb2.Resources.MEMORY, value="1Gi")
    needs = needs_of(task)
    assert needs == Needs("img", "python-task", (("pool", "gpu"), ("zone", "a")), 2.0, float(1 << 30))
    asked = needs.with_labels({"worker.wingbeat.dev/zone": "b", "team": "vision"})
    assert asked.labels == (("pool", "gpu"), ("zone", "b"))
    assert "label zone=b" in str(asked)
    assert "1024 MiB" in str(asked)


def test_images() -> None:
    """A worker that names no image runs those without an environment of their own; one that names some, only those."""
    any_image, named = Announcement(), Announcement(images=frozenset({"mapped"}))
    environments = {"mapped": "/opt/venv"}
    assert any_image.meets(Needs("img", "t"), environments)
    assert not any_image.meets(Needs("mapped", "t"), environments)
    assert not any_image.meets(Needs("local:/opt/other", "t"), environments)
    assert named.meets(Needs("mapped", "t"), environments)
    assert not named.meets(Needs("img", "t"), environments)


def test_types_labels_and_resources() -> None:
    """Each need must be met; what a worker does not know of itself refuses nothing."""
    worker = Announcement(task_types=frozenset({"python-task"}), labels={"pool": "gpu"}, cpus=2.0, memory_bytes=100.0)
    assert worker.meets(Needs("i", "python-task", (("pool", "gpu"),), 2.0, 100.0), {})
    assert not worker.meets(Needs("i", "spark"), {})
    assert not worker.meets(Needs("i", "python-task", (("pool", "cpu"),)), {})
    assert not worker.meets(Needs("i", "python-task", (("zone", "a"),)), {})
    assert not worker.meets(Needs("i", "python-task", (), 2.5), {})
    assert not worker.meets(Needs("i", "python-task", (), 0.0, 101.0), {})
    assert Announcement().meets(Needs("i", "anything", (), 64.0, 1e12), {})


def test_labels_are_pairs() -> None:
    """What is no pair is left out."""
    assert parse_labels("") == ()
    assert parse_labels("b=2,a=1=1,c") == (("a", "1=1"), ("b", "2"))
