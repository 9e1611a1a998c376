"""PURE: what of a task's interface counts for the cache.

Names, types and what tells variants of a union apart count; descriptions, metadata of types and annotations do not, so
that editing a docstring keeps a task's entries. An annotation with the key `cache-key-metadata` is there to be counted.
Flyte v1 strips the same when it compiles a workflow (contract DP §11).
"""

from flyteidl.core import interface_pb2, types_pb2

from wingbeat_catalog.hashing.object_hash import message_hash, text_of

COUNTED_ANNOTATION = "cache-key-metadata"
_SIGNATURE_CHARACTERS = 8


def strip_interface(interface: interface_pb2.TypedInterface) -> interface_pb2.TypedInterface:
    """A copy with nothing but what counts; both maps are set."""
    return interface_pb2.TypedInterface(
        inputs=_strip_variables(interface.inputs), outputs=_strip_variables(interface.outputs)
    )


def signature(variables: interface_pb2.VariableMap) -> str:
    """The first 8 characters of the digest of stripped variables, as they stand in versions of datasets."""
    return text_of(message_hash(variables))[:_SIGNATURE_CHARACTERS]


def strip_type(literal_type: types_pb2.LiteralType) -> types_pb2.LiteralType:
    """A copy without what does not count, at any depth."""
    copy = types_pb2.LiteralType()
    copy.CopyFrom(literal_type)
    _strip(copy)
    return copy


def _strip_variables(variables: interface_pb2.VariableMap) -> interface_pb2.VariableMap:
    copy = interface_pb2.VariableMap()
    copy.CopyFrom(variables)
    for variable in copy.variables.values():
        variable.ClearField("description")
        if variable.HasField("type"):
            _strip(variable.type)
    return copy


def _strip(literal_type: types_pb2.LiteralType) -> None:
    literal_type.ClearField("metadata")
    if COUNTED_ANNOTATION not in literal_type.annotation.annotations.fields:
        literal_type.ClearField("annotation")
    for member in literal_type.structure.dataclass_type.values():
        _strip(member)
    match literal_type.WhichOneof("type"):
        case "collection_type":
            _strip(literal_type.collection_type)
        case "map_value_type":
            _strip(literal_type.map_value_type)
        case "union_type":
            for variant in literal_type.union_type.variants:
                _strip(variant)
        case "structured_dataset_type":
            for column in literal_type.structured_dataset_type.columns:
                if column.HasField("literal_type"):
                    _strip(column.literal_type)
        case _:
            pass
