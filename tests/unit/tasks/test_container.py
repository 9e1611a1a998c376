"""Requests that task templates become."""

import pytest
from flyteidl.core import identifier_pb2, tasks_pb2
from google.protobuf import json_format
from tests.unit.tasks.test_templating import CONTEXT

from wingbeat_propeller.compiler.resources import PlatformResources
from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.ports.tasks import BadTaskError
from wingbeat_propeller.tasks.container import ContainerPlugin, wants_task_template
from wingbeat_propeller.tasks.registry import TaskPlugins

PLUGIN = ContainerPlugin()


def _template(task_type: str = "python-task") -> tasks_pb2.TaskTemplate:
    template = tasks_pb2.TaskTemplate(type=task_type)
    template.id.CopyFrom(identifier_pb2.Identifier(project="p", domain="d", name="mod.task", version="v1"))
    return template


def _container_template() -> tasks_pb2.TaskTemplate:
    template = _template()
    template.container.image = "img:1"
    template.container.args.extend(["pyflyte-execute", "--inputs", "{{.input}}", ""])
    return template


POD = {
    "containers": [
        {"name": "logger", "image": "other"},
        {
            "name": "main",
            "image": "img:2",
            "command": ["run"],
            "args": ["{{.outputPrefix}}"],
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"memory": "1Gi", "cpu": 2}},
        },
    ]
}


def test_command_and_args_are_one_line() -> None:
    """The request runs command, then args, rendered, with the image it names."""
    template = _container_template()
    template.container.command.append("sh")
    request = PLUGIN.build(template, None, CONTEXT._replace(timeout_s=9.0))
    assert list(request.argv) == ["sh", "pyflyte-execute", "--inputs", CONTEXT.input_uri, ""]
    assert (request.name, request.image, request.timeout_s) == (CONTEXT.name, "img:1", 9.0)


def test_environment_order() -> None:
    """The template gives way to who the task is, and both to what the execution asks for."""
    template = _container_template()
    for key, value in (("A", "1"), ("FLYTE_INTERNAL_TASK_NAME", "forged"), ("B", "template")):
        template.container.env.add(key=key, value=value)
    request = PLUGIN.build(template, None, CONTEXT._replace(attempt=2, envs={"B": "execution"}))
    assert dict(request.env) == {
        "A": "1",
        "B": "execution",
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": "flytesnacks:development:wf",
        "FLYTE_INTERNAL_EXECUTION_ID": "exec",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "flytesnacks",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "development",
        "FLYTE_ATTEMPT_NUMBER": "2",
        "FLYTE_INTERNAL_TASK_PROJECT": "p",
        "FLYTE_INTERNAL_TASK_DOMAIN": "d",
        "FLYTE_INTERNAL_TASK_NAME": "mod.task",
        "FLYTE_INTERNAL_TASK_VERSION": "v1",
    }


def test_limits_fall_back_to_requests() -> None:
    """A limit counts; where there is none the request is the limit."""
    template = _container_template()
    resources = template.container.resources
    resources.requests.add(name=tasks_pb2.Resources.MEMORY, value="500Mi")
    resources.requests.add(name=tasks_pb2.Resources.CPU, value="1")
    resources.limits.add(name=tasks_pb2.Resources.CPU, value="1500m")
    request = PLUGIN.build(template, None, CONTEXT)
    assert (request.memory_limit_bytes, request.cpu_limit) == (500 << 20, 1.5)


def test_platform_fills_in_and_cuts() -> None:
    """Defaults of the execution serve what the task does not say, and nothing passes the limits; pods alike."""
    platform = PlatformResources(
        defaults={tasks_pb2.Resources.CPU: "500m", tasks_pb2.Resources.MEMORY: "200Mi"},
        limits={tasks_pb2.Resources.CPU: "1", tasks_pb2.Resources.MEMORY: "512Mi"},
    )
    context = CONTEXT._replace(resources=platform)
    silent, greedy = _container_template(), _container_template()
    greedy.container.resources.requests.add(name=tasks_pb2.Resources.MEMORY, value="2Gi")
    greedy.container.resources.limits.add(name=tasks_pb2.Resources.CPU, value="8")
    pod = _template("sidecar")
    json_format.ParseDict({"podSpec": POD, "primaryContainerName": "main"}, pod.custom)
    found = [PLUGIN.build(template, None, context) for template in (silent, greedy, pod)]
    assert [(request.memory_limit_bytes, request.cpu_limit) for request in found] == [
        (200 << 20, 0.5),
        (512 << 20, 1.0),
        (512 << 20, 1.0),
    ]


def test_request_carries_what_the_execution_is_known_by() -> None:
    """Labels, annotations and interruptibility of the execution reach the runtime."""
    context = CONTEXT._replace(labels={"team": "a"}, annotations={"note": "b"}, interruptible=True)
    request = PLUGIN.build(_container_template(), None, context)
    assert (request.labels, request.annotations, request.interruptible) == ({"team": "a"}, {"note": "b"}, True)


def test_primary_container_of_a_pod() -> None:
    """All three shapes of pod tasks run their primary container."""
    target = _template("sidecar")
    target.task_type_version = 2
    json_format.ParseDict(POD, target.k8s_pod.pod_spec)
    target.config["primary_container_name"] = "main"
    first = _template("sidecar")
    json_format.ParseDict({"podSpec": POD, "primaryContainerName": "main"}, first.custom)
    second = _template("sidecar")
    second.task_type_version = 1
    json_format.ParseDict(POD, second.custom)
    second.config["primary_container_name"] = "main"
    for template in (target, first, second):
        request = PLUGIN.build(template, None, CONTEXT)
        assert (request.image, list(request.argv)) == ("img:2", ["run", CONTEXT.output_prefix])
        assert (request.env["A"], request.memory_limit_bytes, request.cpu_limit) == ("1", 1 << 30, 2.0)


def test_inputs_and_outputs_as_files() -> None:
    """A raw container says where its files are to be; without a word of it there are none, with little there are
    defaults; in a pod the pod says it."""
    assert PLUGIN.build(_container_template(), None, CONTEXT).files is None
    template = _container_template()
    template.interface.outputs.variables["x"].type.simple = 1
    template.container.data_config.enabled = True
    files = PLUGIN.build(template, None, CONTEXT).files
    assert files == ContainerFiles(
        input_path="/var/flyte/inputs",
        output_path="/var/flyte/outputs",
        format="json",
        inputs_uri=CONTEXT.input_uri,
        output_prefix=CONTEXT.output_prefix,
        raw_output_prefix=CONTEXT.raw_output_prefix,
        outputs=template.interface.outputs.SerializeToString(),
    )
    pod = _template("raw-container")
    json_format.ParseDict(POD, pod.k8s_pod.pod_spec)
    pod.config["primary_container_name"] = "main"
    json_format.ParseDict(
        {
            "enabled": True,
            "inputPath": "/in",
            "outputPath": "/out",
            "format": "YAML",
            "ioStrategy": {"downloadMode": "DO_NOT_DOWNLOAD", "uploadMode": "DO_NOT_UPLOAD"},
        },
        pod.k8s_pod.data_config,
    )
    files = PLUGIN.build(pod, None, CONTEXT).files
    assert files is not None
    assert (files.input_path, files.output_path, files.format) == ("/in", "/out", "yaml")
    assert (files.downloads, files.uploads) == (False, False)


def _no_container() -> tasks_pb2.TaskTemplate:
    return _template("spark")


def _no_command() -> tasks_pb2.TaskTemplate:
    template = _template()
    template.container.image = "img"
    return template


def _files_at(input_path: str, output_path: str) -> tasks_pb2.TaskTemplate:
    template = _container_template()
    template.container.data_config.MergeFrom(
        tasks_pb2.DataLoadingConfig(enabled=True, input_path=input_path, output_path=output_path)
    )
    return template


def _bad_quantity() -> tasks_pb2.TaskTemplate:
    template = _container_template()
    template.container.resources.limits.add(name=tasks_pb2.Resources.MEMORY, value="lots")
    return template


def _bad_variable() -> tasks_pb2.TaskTemplate:
    template = _container_template()
    template.container.args.append("{{.inputs.y}}")
    return template


def _no_primary() -> tasks_pb2.TaskTemplate:
    template = _template("sidecar")
    json_format.ParseDict(POD, template.k8s_pod.pod_spec)
    template.config["primary_container_name"] = "absent"
    return template


@pytest.mark.parametrize(
    ("template", "part"),
    [
        (_no_container(), "'spark'"),
        (_no_command(), "neither a command nor args"),
        (_files_at("/data", "/data/"), "in the same folder, /data"),
        (_files_at("/", "/data"), "the root folder"),
        (_bad_quantity(), "memory 'lots'"),
        (_bad_variable(), "inputs.y"),
        (_no_primary(), "'absent'"),
    ],
)
def test_bad_tasks_fail_for_good(template: tasks_pb2.TaskTemplate, part: str) -> None:
    """What no retry can mend is a permanent user error that names the task and the fault."""
    with pytest.raises(BadTaskError) as raised:
        PLUGIN.build(template, {"x": b""}, CONTEXT)
    failure = raised.value.failure
    assert (failure.kind, failure.retryable) == (ErrorKind.USER, False)
    assert part in failure.message
    assert "mod.task" in failure.message


def test_needs_are_known_before_building() -> None:
    """Input values and the template file are asked for only where an argument names them."""
    plain, asking = _container_template(), _bad_variable()
    asking.container.args.append("{{.taskTemplatePath}}")
    assert (PLUGIN.needs_inputs(plain), wants_task_template(plain)) == (False, False)
    assert (PLUGIN.needs_inputs(asking), wants_task_template(asking)) == (True, True)
    assert (PLUGIN.needs_inputs(_no_container()), wants_task_template(_no_container())) == (False, False)


def test_first_plugin_of_a_type_wins() -> None:
    """Third parties come first and may replace a built-in type; unknown types get the default."""

    class Mine(ContainerPlugin):
        task_types = ("python-task", "mine")

    mine = Mine()
    plugins = TaskPlugins([mine, PLUGIN], PLUGIN)
    assert plugins.for_type("python-task") is mine
    assert plugins.for_type("mine") is mine
    assert plugins.for_type("sidecar") is PLUGIN
    assert plugins.for_type("whatever") is PLUGIN
    assert isinstance(TaskPlugins.installed().for_type("python-task"), ContainerPlugin)
