"""Types as people read them in messages: `List[Integer]`, `Union[String, None]`, `Enum['red', 'green']`.

The text of two types is equal only if the compiler tells them apart by name; it is never parsed again.
"""

from flyteidl.core import types_pb2

from wingbeat_propeller.compiler.errors import shorten

_SIMPLE = {
    types_pb2.NONE: "None",
    types_pb2.INTEGER: "Integer",
    types_pb2.FLOAT: "Float",
    types_pb2.STRING: "String",
    types_pb2.BOOLEAN: "Boolean",
    types_pb2.DATETIME: "Datetime",
    types_pb2.DURATION: "Duration",
    types_pb2.BINARY: "Binary",
    types_pb2.ERROR: "Error",
    types_pb2.STRUCT: "Struct",
}


def type_text(literal_type: types_pb2.LiteralType | None) -> str:
    """One line that names a type; very wide types lose their middle."""
    return shorten(_text(literal_type))


def _text(literal_type: types_pb2.LiteralType | None) -> str:
    if literal_type is None:
        return "unknown type"
    match literal_type.WhichOneof("type"):
        case "simple":
            text = _SIMPLE.get(literal_type.simple, f"simple type {literal_type.simple}")
            if literal_type.simple == types_pb2.STRUCT:
                text += _struct_text(literal_type)
        case "collection_type":
            text = f"List[{_text(literal_type.collection_type)}]"
        case "map_value_type":
            text = f"Map[String, {_text(literal_type.map_value_type)}]"
        case "union_type":
            text = f"Union[{', '.join(_text(variant) for variant in literal_type.union_type.variants)}]"
        case "enum_type":
            text = f"Enum[{', '.join(repr(value) for value in literal_type.enum_type.values)}]"
        case "blob":
            shape = "directory" if literal_type.blob.dimensionality == types_pb2.BlobType.MULTIPART else "file"
            text = f"Blob[{shape}{_format(literal_type.blob.format)}]"
        case "schema":
            columns = (
                f"{column.name}: {types_pb2.SchemaType.SchemaColumn.SchemaColumnType.Name(column.type).title()}"
                for column in literal_type.schema.columns
            )
            text = f"Schema[{', '.join(columns)}]"
        case "structured_dataset_type":
            dataset = literal_type.structured_dataset_type
            columns = (f"{column.name}: {_text(column.literal_type)}" for column in dataset.columns)
            text = f"StructuredDataset[{', '.join(columns)}{_format(dataset.format)}]"
        case _:
            return "unknown type"
    tag = literal_type.structure.tag
    return f"{text} (tag '{tag}')" if tag else text


def _struct_text(literal_type: types_pb2.LiteralType) -> str:
    fields = literal_type.structure.dataclass_type
    if fields:
        return "{" + ", ".join(f"{name}: {_text(fields[name])}" for name in sorted(fields)) + "}"
    if "title" in literal_type.metadata.fields:
        return f"[{literal_type.metadata.fields['title'].string_value}]"
    return ""


def _format(name: str) -> str:
    return f" of format '{name}'" if name else ""
