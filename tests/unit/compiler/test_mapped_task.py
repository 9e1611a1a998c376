"""Which task a map of flytekit runs."""

from flyteidl.core import tasks_pb2
from flytekit import map_task, task
from flytekit.configuration import FastSerializationSettings, Image, ImageConfig, SerializationSettings
from flytekit.core.array_node_map_task import ArrayNodeMapTask

from wingbeat_propeller.compiler.mapped_task import mapped_task

SETTINGS = SerializationSettings(ImageConfig(Image("i", "x", "y")), version="v")
FAST = SerializationSettings(
    ImageConfig(Image("i", "x", "y")), version="v", fast_serialization_settings=FastSerializationSettings(enabled=True)
)


@task
def halve(number: int) -> int:
    """Any task."""
    return number // 2


def _template(settings: SerializationSettings) -> tasks_pb2.TaskTemplate:
    mapping = map_task(halve)
    assert isinstance(mapping, ArrayNodeMapTask)
    container = mapping.get_container(settings)
    return tasks_pb2.TaskTemplate(container=container.to_flyte_idl())


def test_maps_of_flytekit() -> None:
    """The arguments of the program tell module and name, also behind the program that fetches the code."""
    name = halve.name
    assert mapped_task(_template(SETTINGS)) == name
    fast = _template(FAST)
    fast.container.args[:0] = ["pyflyte-fast-execute", "--additional-distribution", "s3://b/c", "--"]
    assert mapped_task(fast) == name


def test_others() -> None:
    """Tasks that map nothing, and maps that find their task in another way."""
    arguments = ["pyflyte-execute", "--", "task-module", "m", "task-name", "t"]
    assert mapped_task(tasks_pb2.TaskTemplate(container=tasks_pb2.Container(args=arguments))) is None
    cut = ["pyflyte-map-execute", "--", "task-module", "m", "task-name"]
    assert mapped_task(tasks_pb2.TaskTemplate(container=tasks_pb2.Container(args=cut))) is None
    assert mapped_task(tasks_pb2.TaskTemplate()) is None
