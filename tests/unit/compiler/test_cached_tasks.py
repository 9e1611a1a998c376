"""What the cache knows nodes by."""

from flyteidl.core import interface_pb2, tasks_pb2, types_pb2, workflow_pb2

from wingbeat_propeller.compiler.cached_tasks import cached_task, cached_workflow

INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
LIST = types_pb2.LiteralType(collection_type=INTEGER)


def _variables(**types: types_pb2.LiteralType) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=type_) for name, type_ in types.items()}
    )


def _template(*, discoverable: bool = True, kind: types_pb2.LiteralType = INTEGER) -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(
        id={"project": "p", "domain": "d", "name": "t", "version": "v7"},
        interface=interface_pb2.TypedInterface(inputs=_variables(x=kind), outputs=_variables(o0=kind)),
        metadata=tasks_pb2.TaskMetadata(
            discoverable=discoverable,
            discovery_version="1",
            cache_serializable=True,
            cache_ignore_input_vars=["note"],
        ),
    )


def test_a_task_is_known_as_it_says() -> None:
    """Identity, version of the cache, ignored inputs, one at a time."""
    found = cached_task(_template(), workflow_pb2.NodeMetadata())
    assert found is not None
    assert (found.project, found.domain, found.name, found.version) == ("p", "d", "t", "v7")
    assert (found.cache_version, found.ignored_inputs, found.serialized) == ("1", ("note",), True)
    assert found.interface == _template().interface.SerializeToString()
    assert cached_task(_template(discoverable=False), workflow_pb2.NodeMetadata()) is None


def test_a_node_overrides_what_it_says_itself() -> None:
    """On, off, another version, not one at a time; what it does not say stays the task's."""
    assert cached_task(_template(), workflow_pb2.NodeMetadata(cacheable=False)) is None
    on = cached_task(_template(discoverable=False), workflow_pb2.NodeMetadata(cacheable=True, cache_version="9"))
    assert on is not None
    assert (on.cache_version, on.serialized) == ("9", True)
    loose = cached_task(_template(), workflow_pb2.NodeMetadata(cache_serializable=False))
    assert loose is not None
    assert (loose.cache_version, loose.serialized) == ("1", False)


def test_an_element_of_a_map_gives_one_item() -> None:
    """The outputs are of the type of the items, the inputs as declared: so Flyte's keys have it."""
    found = cached_task(_template(kind=LIST), workflow_pb2.NodeMetadata(), maps=True)
    assert found is not None
    interface = interface_pb2.TypedInterface.FromString(found.interface)
    assert interface.outputs.variables["o0"].type == INTEGER
    assert interface.inputs.variables["x"].type == LIST
    plain = cached_task(_template(), workflow_pb2.NodeMetadata(), maps=True)
    assert plain is not None
    assert interface_pb2.TypedInterface.FromString(plain.interface).outputs.variables["o0"].type == INTEGER


def test_a_sub_workflow_is_cached_where_its_node_says_so() -> None:
    """With the identity and interface of the workflow; else not."""
    template = workflow_pb2.WorkflowTemplate(
        id={"project": "p", "domain": "d", "name": "w", "version": "v7"},
        interface=interface_pb2.TypedInterface(inputs=_variables(x=INTEGER)),
    )
    metadata = workflow_pb2.NodeMetadata(cacheable=True, cache_version="2", cache_serializable=True)
    found = cached_workflow(template, metadata)
    assert found is not None
    assert (found.project, found.domain, found.name, found.version) == ("p", "d", "w", "v7")
    assert (found.cache_version, found.serialized, found.is_workflow) == ("2", True, True)
    assert found.interface == template.interface.SerializeToString()
    assert cached_workflow(template, workflow_pb2.NodeMetadata()) is None
    assert cached_workflow(template, workflow_pb2.NodeMetadata(cacheable=False, cache_version="2")) is None
