"""Gate nodes of a plan: what they wait for."""

from flyteidl.core import types_pb2, workflow_pb2

from wingbeat_propeller.core.plan import GateKind, GateSpec


def gate_spec(node: workflow_pb2.Node) -> GateSpec:
    """What a gate node waits for. An approval hands on the node's inputs."""
    gate = node.gate_node
    match gate.WhichOneof("condition"):
        case "sleep":
            return GateSpec(GateKind.SLEEP, gate.sleep.duration.ToMicroseconds() / 1e6, "", b"", ())
        case "signal":
            signal = gate.signal
            literal_type = signal.type.SerializeToString(deterministic=True)
            return GateSpec(GateKind.SIGNAL, 0.0, signal.signal_id, literal_type, (signal.output_variable_name,))
        case _:
            boolean = types_pb2.LiteralType(simple=types_pb2.BOOLEAN).SerializeToString(deterministic=True)
            names = tuple(binding.var for binding in node.inputs)
            return GateSpec(GateKind.APPROVE, 0.0, gate.approve.signal_id, boolean, names)
