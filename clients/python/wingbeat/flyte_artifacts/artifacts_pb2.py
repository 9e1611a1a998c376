"""Messages and service of Flyte's artifact registry, package `flyteidl.artifact`, which the published flyteidl lacks.

Both ends use it: the server binds the service by its descriptor, clients call it with these messages. The descriptor is
made from the tables below when this module is imported; the module beside it, with the ending `.pyi`, says the same to
type checkers. Numbers and names are those of the wire. Our own additions are numbered from 1000 (fields) or are rpcs
that Flyte does not have (ListUsage), so that clients of Flyte's definition do not notice them.
"""

from typing import Any, cast

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import artifact_id_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

_PACKAGE = "flyteidl.artifact"
_IMPORTS = (
    launch_plan_pb2,
    artifact_id_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    types_pb2,
    annotations_pb2,
    any_pb2,
    timestamp_pb2,
)

_MESSAGES = {
    "Artifact": "artifact_id core.ArtifactID 1, spec ArtifactSpec 2, tags string* 3, source ArtifactSource 4,"
    " created_at google.protobuf.Timestamp 1000",
    "CreateArtifactRequest": "artifact_key core.ArtifactKey 1, version string 3, spec ArtifactSpec 2,"
    " partitions map 4, tag string 5, source ArtifactSource 6",
    "ArtifactSource": "workflow_execution core.WorkflowExecutionIdentifier 1, node_id string 2,"
    " task_id core.Identifier 3, retry_attempt uint32 4, principal string 5",
    "ArtifactSpec": "value core.Literal 1, type core.LiteralType 2, short_description string 3,"
    " user_metadata google.protobuf.Any 4, metadata_type string 5",
    "CreateArtifactResponse": "artifact Artifact 1",
    "GetArtifactRequest": "query core.ArtifactQuery 1, details bool 2",
    "GetArtifactResponse": "artifact Artifact 1",
    "SearchOptions": "strict_partitions bool 1, latest_by_key bool 2",
    "SearchArtifactsRequest": "artifact_key core.ArtifactKey 1, partitions core.Partitions 2, principal string 3,"
    " version string 4, options SearchOptions 5, token string 6, limit int32 7",
    "SearchArtifactsResponse": "artifacts Artifact* 1, token string 2",
    "FindByWorkflowExecRequest": "exec_id core.WorkflowExecutionIdentifier 1, direction enum 2",
    "AddTagRequest": "artifact_id core.ArtifactID 1, value string 2, overwrite bool 3",
    "AddTagResponse": "",
    "CreateTriggerRequest": "trigger_launch_plan admin.LaunchPlan 1",
    "CreateTriggerResponse": "",
    "DeactivateTriggerRequest": "trigger_id core.Identifier 1",
    "DeactivateTriggerResponse": "",
    "ArtifactProducer": "entity_id core.Identifier 1, outputs core.VariableMap 2",
    "RegisterProducerRequest": "producers ArtifactProducer* 1",
    "ArtifactConsumer": "entity_id core.Identifier 1, inputs core.ParameterMap 2",
    "RegisterConsumerRequest": "consumers ArtifactConsumer* 1",
    "RegisterResponse": "",
    "ExecutionInputsRequest": "execution_id core.WorkflowExecutionIdentifier 1, inputs core.ArtifactID* 2",
    "ExecutionInputsResponse": "",
    "ListUsageRequest": "artifact_id core.ArtifactID 1",
    "ListUsageResponse": "executions core.WorkflowExecutionIdentifier* 1",
}
_V1 = "/artifacts/api/v1"
_KEY = "{query.artifact_id.artifact_key.project}/{query.artifact_id.artifact_key.domain}"
_NAME = f"{_KEY}/{{query.artifact_id.artifact_key.name}}"
_TAG = "query.artifact_tag.artifact_key"
_RPCS = {
    "CreateArtifact": ("CreateArtifactRequest", "CreateArtifactResponse", ()),
    "GetArtifact": (
        "GetArtifactRequest",
        "GetArtifactResponse",
        (
            f"{_V1}/artifacts",
            f"{_V1}/artifact/id/{_NAME}/{{query.artifact_id.version}}",
            f"{_V1}/artifact/id/{_NAME}",
            f"{_V1}/artifact/tag/{{{_TAG}.project}}/{{{_TAG}.domain}}/{{{_TAG}.name}}",
        ),
    ),
    "SearchArtifacts": (
        "SearchArtifactsRequest",
        "SearchArtifactsResponse",
        (
            f"{_V1}/search/{{artifact_key.project}}/{{artifact_key.domain}}/{{artifact_key.name}}",
            f"{_V1}/search/{{artifact_key.project}}/{{artifact_key.domain}}",
        ),
    ),
    "CreateTrigger": ("CreateTriggerRequest", "CreateTriggerResponse", ()),
    "DeactivateTrigger": ("DeactivateTriggerRequest", "DeactivateTriggerResponse", ()),
    "AddTag": ("AddTagRequest", "AddTagResponse", ()),
    "RegisterProducer": ("RegisterProducerRequest", "RegisterResponse", ()),
    "RegisterConsumer": ("RegisterConsumerRequest", "RegisterResponse", ()),
    "SetExecutionInputs": ("ExecutionInputsRequest", "ExecutionInputsResponse", ()),
    "FindByWorkflowExec": (
        "FindByWorkflowExecRequest",
        "SearchArtifactsResponse",
        (f"{_V1}/search/execution/{{exec_id.project}}/{{exec_id.domain}}/{{exec_id.name}}/{{direction}}",),
    ),
    "ListUsage": ("ListUsageRequest", "ListUsageResponse", ()),
}
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "uint32": _FIELD.TYPE_UINT32,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="flyteidl/artifact/artifacts.proto", package=_PACKAGE, syntax="proto3"
    )
    file.dependency.extend(module.DESCRIPTOR.name for module in _IMPORTS)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", ") if fields else ():
            _add_field(message, *text.split())
    service = file.service.add(name="ArtifactRegistry")
    for name, (request, response, paths) in _RPCS.items():
        method = service.method.add(
            name=name, input_type=f".{_PACKAGE}.{request}", output_type=f".{_PACKAGE}.{response}"
        )
        if paths:
            rule = http_pb2.HttpRule(get=paths[0])
            rule.additional_bindings.extend(http_pb2.HttpRule(get=path) for path in paths[1:])
            cast("Any", method.options.Extensions)[annotations_pb2.http].CopyFrom(rule)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, kind: str, number: str) -> None:
    field = message.field.add(name=name, number=int(number))
    is_list = kind.endswith("*")
    field.label = _FIELD.LABEL_REPEATED if is_list or kind == "map" else _FIELD.LABEL_OPTIONAL
    kind = kind.removesuffix("*")
    if kind == "enum":
        field.type, field.type_name = _FIELD.TYPE_ENUM, f".{_PACKAGE}.{message.name}.Direction"
        direction = message.enum_type.add(name="Direction")
        direction.value.add(name="INPUTS", number=0)
        direction.value.add(name="OUTPUTS", number=1)
    elif kind == "map":
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        for number_of, part in enumerate(("key", "value"), 1):
            entry.field.add(name=part, number=number_of, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        if kind.startswith(("core.", "admin.")):
            field.type_name = f".flyteidl.{kind}"
        else:
            field.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"


_pool = descriptor_pool.Default()
_pool.AddSerializedFile(_file().SerializeToString())
DESCRIPTOR = _pool.FindFileByName("flyteidl/artifact/artifacts.proto")
globals().update({name: message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name[name]) for name in _MESSAGES})
