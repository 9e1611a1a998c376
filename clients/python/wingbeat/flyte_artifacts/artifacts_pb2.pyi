from collections.abc import Iterable, Mapping

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import artifact_id_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2
from google.protobuf import any_pb2, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer, ScalarMap
from google.protobuf.message import Message

DESCRIPTOR: FileDescriptor

class Artifact(Message):
    artifact_id: artifact_id_pb2.ArtifactID
    spec: ArtifactSpec
    tags: RepeatedScalarFieldContainer[str]
    source: ArtifactSource
    created_at: timestamp_pb2.Timestamp
    def __init__(
        self,
        *,
        artifact_id: artifact_id_pb2.ArtifactID | None = ...,
        spec: ArtifactSpec | None = ...,
        tags: Iterable[str] | None = ...,
        source: ArtifactSource | None = ...,
        created_at: timestamp_pb2.Timestamp | None = ...,
    ) -> None: ...

class CreateArtifactRequest(Message):
    artifact_key: artifact_id_pb2.ArtifactKey
    version: str
    spec: ArtifactSpec
    partitions: ScalarMap[str, str]
    tag: str
    source: ArtifactSource
    def __init__(
        self,
        *,
        artifact_key: artifact_id_pb2.ArtifactKey | None = ...,
        version: str | None = ...,
        spec: ArtifactSpec | None = ...,
        partitions: Mapping[str, str] | None = ...,
        tag: str | None = ...,
        source: ArtifactSource | None = ...,
    ) -> None: ...

class ArtifactSource(Message):
    workflow_execution: identifier_pb2.WorkflowExecutionIdentifier
    node_id: str
    task_id: identifier_pb2.Identifier
    retry_attempt: int
    principal: str
    def __init__(
        self,
        *,
        workflow_execution: identifier_pb2.WorkflowExecutionIdentifier | None = ...,
        node_id: str | None = ...,
        task_id: identifier_pb2.Identifier | None = ...,
        retry_attempt: int | None = ...,
        principal: str | None = ...,
    ) -> None: ...

class ArtifactSpec(Message):
    value: literals_pb2.Literal
    type: types_pb2.LiteralType
    short_description: str
    user_metadata: any_pb2.Any
    metadata_type: str
    def __init__(
        self,
        *,
        value: literals_pb2.Literal | None = ...,
        type: types_pb2.LiteralType | None = ...,  # noqa: A002  (the name on the wire)
        short_description: str | None = ...,
        user_metadata: any_pb2.Any | None = ...,
        metadata_type: str | None = ...,
    ) -> None: ...

class CreateArtifactResponse(Message):
    artifact: Artifact
    def __init__(self, *, artifact: Artifact | None = ...) -> None: ...

class GetArtifactRequest(Message):
    query: artifact_id_pb2.ArtifactQuery
    details: bool
    def __init__(self, *, query: artifact_id_pb2.ArtifactQuery | None = ..., details: bool | None = ...) -> None: ...

class GetArtifactResponse(Message):
    artifact: Artifact
    def __init__(self, *, artifact: Artifact | None = ...) -> None: ...

class SearchOptions(Message):
    strict_partitions: bool
    latest_by_key: bool
    def __init__(self, *, strict_partitions: bool | None = ..., latest_by_key: bool | None = ...) -> None: ...

class SearchArtifactsRequest(Message):
    artifact_key: artifact_id_pb2.ArtifactKey
    partitions: artifact_id_pb2.Partitions
    principal: str
    version: str
    options: SearchOptions
    token: str
    limit: int
    def __init__(
        self,
        *,
        artifact_key: artifact_id_pb2.ArtifactKey | None = ...,
        partitions: artifact_id_pb2.Partitions | None = ...,
        principal: str | None = ...,
        version: str | None = ...,
        options: SearchOptions | None = ...,
        token: str | None = ...,
        limit: int | None = ...,
    ) -> None: ...

class SearchArtifactsResponse(Message):
    artifacts: RepeatedCompositeFieldContainer[Artifact]
    token: str
    def __init__(self, *, artifacts: Iterable[Artifact] | None = ..., token: str | None = ...) -> None: ...

class FindByWorkflowExecRequest(Message):
    INPUTS: int
    OUTPUTS: int
    exec_id: identifier_pb2.WorkflowExecutionIdentifier
    direction: int
    def __init__(
        self, *, exec_id: identifier_pb2.WorkflowExecutionIdentifier | None = ..., direction: int | None = ...
    ) -> None: ...

class AddTagRequest(Message):
    artifact_id: artifact_id_pb2.ArtifactID
    value: str
    overwrite: bool
    def __init__(
        self,
        *,
        artifact_id: artifact_id_pb2.ArtifactID | None = ...,
        value: str | None = ...,
        overwrite: bool | None = ...,
    ) -> None: ...

class AddTagResponse(Message):
    def __init__(self) -> None: ...

class CreateTriggerRequest(Message):
    trigger_launch_plan: launch_plan_pb2.LaunchPlan
    def __init__(self, *, trigger_launch_plan: launch_plan_pb2.LaunchPlan | None = ...) -> None: ...

class CreateTriggerResponse(Message):
    def __init__(self) -> None: ...

class DeactivateTriggerRequest(Message):
    trigger_id: identifier_pb2.Identifier
    def __init__(self, *, trigger_id: identifier_pb2.Identifier | None = ...) -> None: ...

class DeactivateTriggerResponse(Message):
    def __init__(self) -> None: ...

class ArtifactProducer(Message):
    entity_id: identifier_pb2.Identifier
    outputs: interface_pb2.VariableMap
    def __init__(
        self, *, entity_id: identifier_pb2.Identifier | None = ..., outputs: interface_pb2.VariableMap | None = ...
    ) -> None: ...

class RegisterProducerRequest(Message):
    producers: RepeatedCompositeFieldContainer[ArtifactProducer]
    def __init__(self, *, producers: Iterable[ArtifactProducer] | None = ...) -> None: ...

class ArtifactConsumer(Message):
    entity_id: identifier_pb2.Identifier
    inputs: interface_pb2.ParameterMap
    def __init__(
        self, *, entity_id: identifier_pb2.Identifier | None = ..., inputs: interface_pb2.ParameterMap | None = ...
    ) -> None: ...

class RegisterConsumerRequest(Message):
    consumers: RepeatedCompositeFieldContainer[ArtifactConsumer]
    def __init__(self, *, consumers: Iterable[ArtifactConsumer] | None = ...) -> None: ...

class RegisterResponse(Message):
    def __init__(self) -> None: ...

class ExecutionInputsRequest(Message):
    execution_id: identifier_pb2.WorkflowExecutionIdentifier
    inputs: RepeatedCompositeFieldContainer[artifact_id_pb2.ArtifactID]
    def __init__(
        self,
        *,
        execution_id: identifier_pb2.WorkflowExecutionIdentifier | None = ...,
        inputs: Iterable[artifact_id_pb2.ArtifactID] | None = ...,
    ) -> None: ...

class ExecutionInputsResponse(Message):
    def __init__(self) -> None: ...

class ListUsageRequest(Message):
    artifact_id: artifact_id_pb2.ArtifactID
    def __init__(self, *, artifact_id: artifact_id_pb2.ArtifactID | None = ...) -> None: ...

class ListUsageResponse(Message):
    executions: RepeatedCompositeFieldContainer[identifier_pb2.WorkflowExecutionIdentifier]
    def __init__(self, *, executions: Iterable[identifier_pb2.WorkflowExecutionIdentifier] | None = ...) -> None: ...
