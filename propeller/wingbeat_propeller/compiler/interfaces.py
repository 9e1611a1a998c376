"""The interface of each node of a workflow: which inputs it takes and which outputs others may bind to.

Outputs of most nodes follow from what they refer to. Those of approve gates are what they are bound to, so they depend
on other nodes; they are worked out in dependency order with an explicit stack, whatever order the nodes are listed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flyteidl.core import identifier_pb2, interface_pb2, types_pb2, workflow_pb2

from wingbeat_propeller.compiler.binding_types import START_ID, Place, Scope, Types, binding_type, promises
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.plan_arrays import wraps
from wingbeat_propeller.compiler.references import EntityKey, References, arms, entity_key, id_text, walk_inner
from wingbeat_propeller.compiler.type_text import type_text


@dataclass(frozen=True, slots=True)
class NodeInterface:
    """`inputs` None: the node takes whatever it is bound to. `outputs` are named by the node's aliases."""

    inputs: Types | None
    outputs: Types


def variable_types(
    variables: interface_pb2.VariableMap, node_id: str, what: str, errors: ErrorCollector
) -> dict[str, types_pb2.LiteralType] | None:
    """Types by variable name; None, and reported, when a variable has no name or no type."""
    types = {name: variable.type for name, variable in variables.variables.items()}
    faulty = False
    for name, literal_type in types.items():
        if not name or literal_type.WhichOneof("type") is None:
            missing = "type" if name else "name"
            errors.report(
                ErrorCode.VALUE_REQUIRED, node_id, f"Value required [{missing}] of the variable [{name}] of {what}"
            )
            faulty = True
    return None if faulty else types


class InterfaceResolver:
    """Works out the interfaces of the nodes of one workflow, each once."""

    def __init__(
        self,
        template: workflow_pb2.WorkflowTemplate,
        workflow_interface: NodeInterface | None,
        *,
        references: References,
        sub_workflows: Mapping[EntityKey, workflow_pb2.WorkflowTemplate],
        errors: ErrorCollector,
    ) -> None:
        self._own_key = entity_key(template.id)
        self._own_interface = workflow_interface
        self._references = references
        self._sub_workflows = sub_workflows
        self._errors = errors
        self._interfaces: dict[str, NodeInterface | None] = {}
        self._tasks: dict[EntityKey, NodeInterface | None] = {}
        self._outputs: dict[str, Types | None] = {
            START_ID: None if workflow_interface is None else workflow_interface.inputs
        }
        self._nodes = {node.id: node for node in template.nodes}

    @property
    def outputs(self) -> Mapping[str, Types | None]:
        """Outputs by node id, complete after `resolve`: start node and top-level nodes, None where unknown."""
        return self._outputs

    def interface(self, node: workflow_pb2.Node) -> NodeInterface | None:
        """Interface of any node, those inside branches included; None when a mistake in it is reported."""
        if node.id not in self._interfaces:
            self._interfaces[node.id] = self._aliased(node, self._target_interface(node, _bound(node)))
        return self._interfaces[node.id]

    def resolve(self) -> None:
        """Work out the outputs of all top-level nodes."""
        needs = {node_id: _needs(node) & self._nodes.keys() for node_id, node in self._nodes.items()}
        for first in self._nodes:
            stack = [first]
            on_stack = {first}
            while stack:
                node_id = stack[-1]
                waiting = [need for need in needs[node_id] if need not in self._outputs and need not in on_stack]
                if waiting:
                    on_stack.update(waiting)
                    stack += waiting
                    continue
                stack.pop()
                if node_id not in self._outputs:
                    interface = self.interface(self._nodes[node_id])
                    self._outputs[node_id] = None if interface is None else interface.outputs

    def _target_interface(self, node: workflow_pb2.Node, bound: frozenset[str]) -> NodeInterface | None:
        match node.WhichOneof("target"):
            case "task_node":
                return self._task_interface(node)
            case "workflow_node":
                return self._workflow_node_interface(node, bound)
            case "branch_node":
                return self._branch_interface(node)
            case "gate_node":
                return self._gate_interface(node)
            case "array_node":
                return self._array_interface(node, bound)
            case _:
                self._errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [Target]")
                return None

    def _task_interface(self, node: workflow_pb2.Node) -> NodeInterface | None:
        if not node.task_node.HasField("reference_id"):
            self._errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [TaskNode.ReferenceId]")
            return None
        identifier = node.task_node.reference_id
        key = entity_key(identifier)
        if key not in self._tasks:
            template = self._references.task(identifier)
            if template is None:
                self._errors.report(
                    ErrorCode.TASK_REFERENCE_NOT_FOUND, node.id, f"Referenced task [{id_text(identifier)}] not found"
                )
                return None
            self._tasks[key] = self._typed_interface(template.interface, node.id, f"task [{id_text(identifier)}]")
        return self._tasks[key]

    def _workflow_node_interface(self, node: workflow_pb2.Node, bound: frozenset[str]) -> NodeInterface | None:
        match node.workflow_node.WhichOneof("reference"):
            case "launchplan_ref":
                return self._launch_plan_interface(node.id, node.workflow_node.launchplan_ref, bound)
            case "sub_workflow_ref":
                return self._sub_workflow_interface(node.id, node.workflow_node.sub_workflow_ref)
            case _:
                self._errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [WorkflowNode.Reference]")
                return None

    def _launch_plan_interface(
        self, node_id: str, identifier: identifier_pb2.Identifier, bound: frozenset[str]
    ) -> NodeInterface | None:
        if entity_key(identifier) == self._own_key:
            return self._own_interface
        launch_plan = self._references.launch_plan(identifier)
        if launch_plan is None:
            self._report_missing(node_id, "launch plan", identifier)
            return None
        what = f"launch plan [{id_text(identifier)}]"
        exposed = interface_pb2.VariableMap(
            variables={
                name: parameter.var
                for name, parameter in launch_plan.expected_inputs.parameters.items()
                if parameter.required or name in bound
            }
        )
        inputs = variable_types(exposed, node_id, what, self._errors)
        outputs = variable_types(launch_plan.expected_outputs, node_id, what, self._errors)
        return None if inputs is None or outputs is None else NodeInterface(inputs, outputs)

    def _sub_workflow_interface(self, node_id: str, identifier: identifier_pb2.Identifier) -> NodeInterface | None:
        template = self._sub_workflows.get(entity_key(identifier))
        if template is None:
            self._report_missing(node_id, "sub-workflow", identifier)
            return None
        return self._typed_interface(template.interface, node_id, f"sub-workflow [{id_text(identifier)}]")

    def _branch_interface(self, node: workflow_pb2.Node) -> NodeInterface | None:
        """Outputs that all arms have, whose types must then be equal; an arm that fails has none to compare."""
        common: dict[str, types_pb2.LiteralType] | None = None
        first = ""
        known = True
        for arm in arms(node.branch_node):
            interface = self.interface(arm)
            if interface is None:
                known = False
            elif common is None:
                first, common = arm.id, dict(interface.outputs)
            else:
                common = {name: kind for name, kind in common.items() if name in interface.outputs}
                for name, kind in common.items():
                    if kind != interface.outputs[name]:
                        self._errors.report(
                            ErrorCode.MISMATCHING_TYPES,
                            node.id,
                            f"Variable [{arm.id}.{name}] of type [{type_text(interface.outputs[name])}] differs from "
                            f"[{first}.{name}] of type [{type_text(kind)}] in another arm of the branch",
                        )
        return NodeInterface(None, common or {}) if known else None

    def _gate_interface(self, node: workflow_pb2.Node) -> NodeInterface | None:
        gate = node.gate_node
        match gate.WhichOneof("condition"):
            case "approve":
                return self._approve_interface(node)
            case "signal":
                missing = [
                    name
                    for name, given in (
                        ("GateNode.Signal.Type", gate.signal.type.WhichOneof("type")),
                        ("GateNode.Signal.OutputVariableName", gate.signal.output_variable_name),
                    )
                    if not given
                ]
                for name in missing:
                    self._errors.report(ErrorCode.VALUE_REQUIRED, node.id, f"Value required [{name}]")
                return None if missing else NodeInterface({}, {gate.signal.output_variable_name: gate.signal.type})
            case "sleep":
                return NodeInterface({}, {})
            case _:
                self._errors.report(
                    ErrorCode.NO_CONDITION_FOUND, node.id, "The gate has neither an approval, a signal nor a sleep"
                )
                return None

    def _approve_interface(self, node: workflow_pb2.Node) -> NodeInterface | None:
        scope = Scope(self._outputs, self._errors)
        outputs: dict[str, types_pb2.LiteralType] = {}
        for binding in node.inputs:
            kind = binding_type(scope, Place(node.id, binding.var), binding.binding)
            if kind is None:
                return None
            outputs[binding.var] = kind
        return NodeInterface(None, outputs)

    def _array_interface(self, node: workflow_pb2.Node, bound: frozenset[str]) -> NodeInterface | None:
        if not node.array_node.HasField("node"):
            self._errors.report(ErrorCode.VALUE_REQUIRED, node.id, "Value required [ArrayNode.Node]")
            return None
        array = node.array_node
        kind = array.node.WhichOneof("target")
        if kind in ("branch_node", "gate_node"):
            what = kind.partition("_")[0]
            text = f"An array node maps over a task, a workflow, a launch plan or an array, not over a {what}"
            self._errors.report(ErrorCode.INVALID_VALUE, node.id, text)
            return None
        inner = self._target_interface(array.node, bound)
        if inner is None or not wraps(array):
            return inner
        whole = frozenset(array.bound_inputs)
        inputs = None if inner.inputs is None else _wrapped(inner.inputs, except_for=whole)
        return NodeInterface(inputs, _wrapped(inner.outputs))

    def _report_missing(self, node_id: str, kind: str, identifier: identifier_pb2.Identifier) -> None:
        self._errors.report(
            ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node_id, f"Referenced {kind} [{id_text(identifier)}] not found"
        )

    def _typed_interface(
        self, interface: interface_pb2.TypedInterface, node_id: str, what: str
    ) -> NodeInterface | None:
        inputs = variable_types(interface.inputs, node_id, what, self._errors)
        outputs = variable_types(interface.outputs, node_id, what, self._errors)
        return None if inputs is None or outputs is None else NodeInterface(inputs, outputs)

    def _aliased(self, node: workflow_pb2.Node, interface: NodeInterface | None) -> NodeInterface | None:
        """The interface with outputs renamed; doubled aliases and aliases of nothing are reported."""
        if interface is None or not node.output_aliases:
            return interface
        outputs = dict(interface.outputs)
        renamed: dict[str, types_pb2.LiteralType] = {}
        for alias in node.output_aliases:
            if alias.var not in interface.outputs:
                self._errors.report(
                    ErrorCode.PARAMETER_NOT_BOUND,
                    node.id,
                    f"Parameter not bound [{alias.alias}]: it is an alias of [{alias.var}], which is no output",
                )
            elif alias.var not in outputs or alias.alias in renamed:
                self._errors.report(
                    ErrorCode.DUPLICATE_ALIAS, node.id, f"Duplicate alias [{alias.alias}] of the output [{alias.var}]"
                )
            else:
                renamed[alias.alias] = outputs.pop(alias.var)
        for name in sorted(renamed.keys() & outputs.keys()):
            self._errors.report(
                ErrorCode.DUPLICATE_ALIAS, node.id, f"Duplicate alias [{name}]: another output has that name"
            )
        return NodeInterface(interface.inputs, outputs | renamed)


def _needs(node: workflow_pb2.Node) -> set[str]:
    """Ids of the nodes whose outputs decide the outputs of this one."""
    return {
        promise.node_id
        for inner in walk_inner(node)
        if inner.gate_node.HasField("approve")
        for promise in promises(inner.inputs)
    }


def _bound(node: workflow_pb2.Node) -> frozenset[str]:
    return frozenset(binding.var for binding in node.inputs)


def _wrapped(types: Types, *, except_for: Iterable[str] = ()) -> Types:
    kept = frozenset(except_for)
    return {
        name: literal_type if name in kept else types_pb2.LiteralType(collection_type=literal_type)
        for name, literal_type in types.items()
    }
