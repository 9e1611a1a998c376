"""Short ways to write types, literals and templates in tests."""

from collections.abc import Mapping, Sequence

from flyteidl.core import (
    compiler_pb2,
    condition_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)
from google.protobuf import json_format, struct_pb2

from wingbeat_propeller.compiler.errors import CompilationFailedError
from wingbeat_propeller.compiler.references import KnownReferences, LaunchPlanInterface, entity_key
from wingbeat_propeller.compiler.workflow import compile_workflow

Type = types_pb2.LiteralType

NONE, INT, FLOAT, STR, BOOL, DATETIME, DURATION, BINARY, ERROR, STRUCT = (
    Type(simple=kind)
    for kind in (
        types_pb2.NONE,
        types_pb2.INTEGER,
        types_pb2.FLOAT,
        types_pb2.STRING,
        types_pb2.BOOLEAN,
        types_pb2.DATETIME,
        types_pb2.DURATION,
        types_pb2.BINARY,
        types_pb2.ERROR,
        types_pb2.STRUCT,
    )
)


def list_of(element: Type) -> Type:
    """List of a type."""
    return Type(collection_type=element)


def map_of(value: Type) -> Type:
    """Map from strings to a type."""
    return Type(map_value_type=value)


def union(*variants: Type) -> Type:
    """Union of types."""
    return Type(union_type=types_pb2.UnionType(variants=variants))


def tagged(literal_type: Type, tag: str) -> Type:
    """A type with a structure tag."""
    copy = Type()
    copy.CopyFrom(literal_type)
    copy.structure.tag = tag
    return copy


def enum(*values: str) -> Type:
    """An enum."""
    return Type(enum_type=types_pb2.EnumType(values=values))


def blob(file_format: str = "") -> Type:
    """A file."""
    return Type(blob=types_pb2.BlobType(format=file_format))


def schema(**columns: int) -> Type:
    """A schema with columns of SchemaColumnType."""
    column = types_pb2.SchemaType.SchemaColumn
    return Type(schema=types_pb2.SchemaType(columns=[column(name=name, type=kind) for name, kind in columns.items()]))


def dataset(dataset_format: str = "", **columns: Type) -> Type:
    """A structured dataset."""
    column = types_pb2.StructuredDatasetType.DatasetColumn
    return Type(
        structured_dataset_type=types_pb2.StructuredDatasetType(
            format=dataset_format,
            columns=[column(name=name, literal_type=kind) for name, kind in columns.items()],
        )
    )


def struct(json_schema: Mapping[str, object], **fields: Type) -> Type:
    """A dataclass: its JSON schema and the types of its fields."""
    literal_type = Type(simple=types_pb2.STRUCT, metadata=json_struct(json_schema))
    for name, kind in fields.items():
        literal_type.structure.dataclass_type[name].CopyFrom(kind)
    return literal_type


def json_struct(value: Mapping[str, object]) -> struct_pb2.Struct:
    """A Struct from a dictionary."""
    return json_format.ParseDict(dict(value), struct_pb2.Struct())


def scalar(value: int | float | str | bool | None) -> literals_pb2.Scalar:
    """A scalar from a Python value."""
    match value:
        case None:
            return literals_pb2.Scalar(none_type=literals_pb2.Void())
        case bool():
            primitive = literals_pb2.Primitive(boolean=value)
        case int():
            primitive = literals_pb2.Primitive(integer=value)
        case float():
            primitive = literals_pb2.Primitive(float_value=value)
        case str():
            primitive = literals_pb2.Primitive(string_value=value)
    return literals_pb2.Scalar(primitive=primitive)


def literal(value: object) -> literals_pb2.Literal:
    """A literal from a Python value; lists and dictionaries nest."""
    match value:
        case literals_pb2.Literal():
            return value
        case list():
            return literals_pb2.Literal(
                collection=literals_pb2.LiteralCollection(literals=[literal(element) for element in value])
            )
        case dict():
            return literals_pb2.Literal(
                map=literals_pb2.LiteralMap(literals={key: literal(element) for key, element in value.items()})
            )
        case None | bool() | int() | float() | str():
            return literals_pb2.Literal(scalar=scalar(value))
        case _:
            raise TypeError(f"{value!r} is no literal")


def identifier(name: str, kind: int = identifier_pb2.TASK) -> identifier_pb2.Identifier:
    """An identifier of project p, domain d, version v."""
    return identifier_pb2.Identifier(resource_type=kind, project="p", domain="d", name=name, version="v")


def interface(
    inputs: Mapping[str, Type] | None = None, outputs: Mapping[str, Type] | None = None
) -> interface_pb2.TypedInterface:
    """A typed interface."""
    return interface_pb2.TypedInterface(inputs=variables(inputs or {}), outputs=variables(outputs or {}))


def variables(types: Mapping[str, Type]) -> interface_pb2.VariableMap:
    """A variable map."""
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=kind) for name, kind in types.items()}
    )


def task(
    name: str, inputs: Mapping[str, Type] | None = None, outputs: Mapping[str, Type] | None = None
) -> tasks_pb2.TaskTemplate:
    """A task template."""
    return tasks_pb2.TaskTemplate(
        id=identifier(name), type="python-task", metadata={}, interface=interface(inputs, outputs)
    )


def promise(node_id: str, var: str = "o0", *path: str | int) -> literals_pb2.BindingData:
    """A promise, with an attribute path."""
    steps = [
        types_pb2.PromiseAttribute(string_value=step)
        if isinstance(step, str)
        else types_pb2.PromiseAttribute(int_value=step)
        for step in path
    ]
    return literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=node_id, var=var, attr_path=steps))


def data(value: object) -> literals_pb2.BindingData:
    """Binding data from a Python value, in which promises may stand anywhere."""
    match value:
        case literals_pb2.BindingData():
            return value
        case list():
            bindings = [data(element) for element in value]
            return literals_pb2.BindingData(collection=literals_pb2.BindingDataCollection(bindings=bindings))
        case dict():
            entries = {key: data(element) for key, element in value.items()}
            return literals_pb2.BindingData(map=literals_pb2.BindingDataMap(bindings=entries))
        case None | bool() | int() | float() | str():
            return literals_pb2.BindingData(scalar=scalar(value))
        case _:
            raise TypeError(f"{value!r} is no binding")


def bindings(values: Mapping[str, object]) -> list[literals_pb2.Binding]:
    """Bindings by variable."""
    return [literals_pb2.Binding(var=var, binding=data(value)) for var, value in values.items()]


def node(node_id: str, task_name: str = "double", upstream: Sequence[str] = (), **inputs: object) -> workflow_pb2.Node:
    """A task node."""
    return workflow_pb2.Node(
        id=node_id,
        task_node=workflow_pb2.TaskNode(reference_id=identifier(task_name)),
        inputs=bindings(inputs),
        upstream_node_ids=upstream,
    )


def compare(left: object, right: object) -> condition_pb2.BooleanExpression:
    """`left == right`; strings that begin with $ are variables."""
    return condition_pb2.BooleanExpression(
        comparison=condition_pb2.ComparisonExpression(left_value=_operand(left), right_value=_operand(right))
    )


def _operand(value: object) -> condition_pb2.Operand:
    match value:
        case condition_pb2.Operand():
            return value
        case str() if value.startswith("$"):
            return condition_pb2.Operand(var=value[1:])
        case bool() | int() | float() | str():
            return condition_pb2.Operand(primitive=scalar(value).primitive)
        case _:
            raise TypeError(f"{value!r} is no operand")


def branch(
    node_id: str,
    blocks: Sequence[tuple[condition_pb2.BooleanExpression, workflow_pb2.Node]],
    otherwise: workflow_pb2.Node | None = None,
    **inputs: object,
) -> workflow_pb2.Node:
    """A branch node; without `otherwise` it fails when no block is taken."""
    first, *others = [workflow_pb2.IfBlock(condition=condition, then_node=then) for condition, then in blocks]
    if_else = workflow_pb2.IfElseBlock(case=first, other=others)
    if otherwise is None:
        if_else.error.message = "no block taken"
    else:
        if_else.else_node.CopyFrom(otherwise)
    return workflow_pb2.Node(id=node_id, branch_node=workflow_pb2.BranchNode(if_else=if_else), inputs=bindings(inputs))


def workflow(
    nodes: Sequence[workflow_pb2.Node],
    *,
    name: str = "w",
    inputs: Mapping[str, Type] | None = None,
    outputs: Mapping[str, Type] | None = None,
    returns: Mapping[str, object] | None = None,
) -> workflow_pb2.WorkflowTemplate:
    """A workflow template with one integer input `a` by default."""
    return workflow_pb2.WorkflowTemplate(
        id=identifier(name, identifier_pb2.WORKFLOW),
        interface=interface({"a": INT} if inputs is None else inputs, outputs),
        nodes=nodes,
        outputs=bindings(returns or {}),
    )


TASKS = (
    task("double", {"a": INT}, {"o0": INT}),
    task("say", {"text": STR}),
    task("start", None, {"o0": STR}),
    task("total", {"values": list_of(INT)}, {"o0": INT}),
    task("spread", {"a": INT}, {"o0": list_of(INT), "o1": map_of(list_of(STR))}),
    task("maybe", {"a": union(tagged(INT, "int"), tagged(NONE, "none"))}, {"o0": INT}),
    task("paint", {"color": enum("red", "green")}),
    task("either", {"values": union(list_of(INT), list_of(STR), map_of(INT))}),
    task("locate", None, {"o0": struct({}, x=INT, inner=struct({}, y=list_of(STR)))}),
)


def compiled(
    template: workflow_pb2.WorkflowTemplate,
    *sub_workflows: workflow_pb2.WorkflowTemplate,
    tasks: Sequence[tasks_pb2.TaskTemplate] = (),
    launch_plans: Mapping[str, LaunchPlanInterface] | None = None,
) -> compiler_pb2.CompiledWorkflowClosure:
    """Compile against TASKS, further tasks and launch plans by name."""
    known = {entity_key(template.id): template for template in (*TASKS, *tasks)}
    plans = {entity_key(identifier(name)): plan for name, plan in (launch_plans or {}).items()}
    return compile_workflow(template, sub_workflows, KnownReferences(known, plans))


def mistakes(
    template: workflow_pb2.WorkflowTemplate,
    *sub_workflows: workflow_pb2.WorkflowTemplate,
    launch_plans: Mapping[str, LaunchPlanInterface] | None = None,
) -> list[tuple[str, str, str]]:
    """Code, node id and text of what the compiler reports; empty when it compiles."""
    try:
        compiled(template, *sub_workflows, launch_plans=launch_plans)
    except CompilationFailedError as error:
        return [(str(mistake.code), mistake.node_id, mistake.description) for mistake in error.errors]
    return []
