"""What the cache knows a node by: of a task what the task says, but for what its node overrides; of a sub-workflow what
its node says. Pure.

A node may switch caching on or off, and say another version, or whether calls are to be made one at a time
(`with_overrides(cache=...)` of flytekit). Flyte v1 accepts that and ignores it; here it counts. Workflows say nothing
of caches themselves, so a sub-workflow is cached as a whole where its node asks for it.
"""

from flyteidl.core import interface_pb2, tasks_pb2, workflow_pb2

from wingbeat_propeller.core.cached_task import CachedTask


def cached_task(
    template: tasks_pb2.TaskTemplate, node: workflow_pb2.NodeMetadata, *, maps: bool = False
) -> CachedTask | None:
    """None: its outputs are not kept. `maps`: the task's interface is that of the lists, and one call is an element:
    its outputs then are of the type of the items, while the inputs stay as declared, as in Flyte's keys."""
    own = template.metadata
    says_so = node.WhichOneof("cacheable_value") is not None
    if not (node.cacheable if says_so else own.discoverable):
        return None
    says_version = node.WhichOneof("cache_version_value") is not None
    says_serialized = node.WhichOneof("cache_serializable_value") is not None
    interface = _of_element(template.interface) if maps else template.interface
    return CachedTask(
        project=template.id.project,
        domain=template.id.domain,
        name=template.id.name,
        version=template.id.version,
        cache_version=node.cache_version if says_version else own.discovery_version,
        interface=interface.SerializeToString(),
        ignored_inputs=tuple(own.cache_ignore_input_vars),
        serialized=node.cache_serializable if says_serialized else own.cache_serializable,
    )


def cached_workflow(template: workflow_pb2.WorkflowTemplate, node: workflow_pb2.NodeMetadata) -> CachedTask | None:
    """None: the node says nothing of a cache. As of a task, neither the version of the workflow nor what it is made of
    is part of the key: whoever changes what comes out of it says so by another cache version."""
    if not node.cacheable:
        return None
    return CachedTask(
        project=template.id.project,
        domain=template.id.domain,
        name=template.id.name,
        version=template.id.version,
        cache_version=node.cache_version,
        interface=template.interface.SerializeToString(),
        serialized=node.cache_serializable,
        is_workflow=True,
    )


def _of_element(interface: interface_pb2.TypedInterface) -> interface_pb2.TypedInterface:
    element = interface_pb2.TypedInterface()
    element.CopyFrom(interface)
    for variable in element.outputs.variables.values():
        if variable.type.WhichOneof("type") == "collection_type":
            item = variable.type.collection_type
            inner = type(item)()
            inner.CopyFrom(item)
            variable.type.CopyFrom(inner)
    return element
