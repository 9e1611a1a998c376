"""Whether a value of one type may be handed to something that expects another.

The one rule set for bindings, launch inputs, defaults and cache hits. Nothing is converted anywhere: castable means
that the receiver can read the literal as it is. Judged by the downstream type; an upstream union of one variant is
tried unwrapped first. Pairs are judged once a question, so nested unions cost what they are large, not exponentially.
"""

from flyteidl.core import types_pb2

from wingbeat_propeller.compiler import json_schema

_Column = types_pb2.SchemaType.SchemaColumn
_SCHEMA_COLUMN_TYPES = {
    types_pb2.INTEGER: _Column.INTEGER,
    types_pb2.FLOAT: _Column.FLOAT,
    types_pb2.STRING: _Column.STRING,
    types_pb2.BOOLEAN: _Column.BOOLEAN,
    types_pb2.DATETIME: _Column.DATETIME,
    types_pb2.DURATION: _Column.DURATION,
}
_PARQUET = ("", "parquet")


def is_castable(upstream: types_pb2.LiteralType, downstream: types_pb2.LiteralType) -> bool:
    """Whether a literal of type `upstream` is accepted where `downstream` is expected."""
    return _Question().castable(upstream, downstream)


def is_none(literal_type: types_pb2.LiteralType) -> bool:
    """Whether the type is the type of nothing; an unset type is not."""
    return literal_type.WhichOneof("type") == "simple" and literal_type.simple == types_pb2.NONE


def is_optional(literal_type: types_pb2.LiteralType) -> bool:
    """Whether the type is a union that admits nothing, so that its variable may stay unbound."""
    return any(is_none(variant) for variant in literal_type.union_type.variants)


class _Question:
    """One call of `is_castable`: remembers the verdict of each pair of types it met.

    Types are told apart by identity of their messages, which are kept alive for as long as the question lasts.
    """

    def __init__(self) -> None:
        self._verdicts: dict[tuple[int, int], bool] = {}
        self._kept: list[types_pb2.LiteralType] = []

    def castable(self, upstream: types_pb2.LiteralType, downstream: types_pb2.LiteralType) -> bool:
        pair = (id(upstream), id(downstream))
        verdict = self._verdicts.get(pair)
        if verdict is None:
            self._kept += (upstream, downstream)
            variants = upstream.union_type.variants
            verdict = (len(variants) == 1 and self._accepts(downstream, variants[0])) or self._accepts(
                downstream, upstream
            )
            self._verdicts[pair] = verdict
        return verdict

    def _accepts(self, downstream: types_pb2.LiteralType, upstream: types_pb2.LiteralType) -> bool:
        match downstream.WhichOneof("type"):
            case "union_type":
                return self._union_accepts(downstream.union_type, upstream)
            case "collection_type":
                return upstream.WhichOneof("type") == "collection_type" and self._element_accepts(
                    downstream.collection_type, upstream.collection_type
                )
            case "map_value_type":
                return upstream.WhichOneof("type") == "map_value_type" and self._element_accepts(
                    downstream.map_value_type, upstream.map_value_type
                )
            case "blob":
                return upstream.WhichOneof("type") == "blob" and (
                    not upstream.blob.format
                    or not downstream.blob.format
                    or upstream.blob.format == downstream.blob.format
                )
            case "schema":
                return _schema_accepts(downstream.schema, upstream)
            case "structured_dataset_type":
                return self._dataset_accepts(downstream.structured_dataset_type, upstream)
            case _:
                return is_none(upstream) if is_none(downstream) else _plain_accepts(downstream, upstream)

    def _union_accepts(self, downstream: types_pb2.UnionType, upstream: types_pb2.LiteralType) -> bool:
        if upstream.WhichOneof("type") == "union_type":
            return all(
                any(self.castable(variant, offer) for offer in downstream.variants)
                for variant in upstream.union_type.variants
            )
        accepting = 0
        for variant in downstream.variants:
            accepting += self.castable(upstream, variant)
            if accepting > 1:
                return False  # a reader could not tell which variant is meant
        return accepting == 1

    def _element_accepts(self, downstream: types_pb2.LiteralType, upstream: types_pb2.LiteralType) -> bool:
        return is_none(upstream) or self.castable(upstream, downstream)

    def _dataset_accepts(self, downstream: types_pb2.StructuredDatasetType, upstream: types_pb2.LiteralType) -> bool:
        if is_none(upstream):
            return True
        match upstream.WhichOneof("type"):
            case "schema":
                if downstream.format.lower() not in _PARQUET:
                    return False
                if not upstream.schema.columns or not downstream.columns:
                    return True
                given = {column.name: column.type for column in upstream.schema.columns}
                return all(
                    column.name in given and _column_type(column.literal_type) == given[column.name]
                    for column in downstream.columns
                )
            case "structured_dataset_type":
                dataset = upstream.structured_dataset_type
                formats = {dataset.format.lower(), downstream.format.lower()} - {""}
                if len(formats) > 1:
                    return False
                if not dataset.columns or not downstream.columns:
                    return True
                columns = {column.name: column.literal_type for column in dataset.columns}
                return all(
                    column.name in columns and self.castable(columns[column.name], column.literal_type)
                    for column in downstream.columns
                )
            case _:
                return False


def _schema_accepts(downstream: types_pb2.SchemaType, upstream: types_pb2.LiteralType) -> bool:
    match upstream.WhichOneof("type"):
        case "schema":
            given = {column.name: column.type for column in upstream.schema.columns}
        case "structured_dataset_type":
            dataset = upstream.structured_dataset_type
            if dataset.format.lower() not in _PARQUET:
                return False
            given = {column.name: _column_type(column.literal_type) for column in dataset.columns}
        case _:
            return False
    if not given or not downstream.columns:
        return True
    return all(column.name in given and given[column.name] == column.type for column in downstream.columns)


def _column_type(literal_type: types_pb2.LiteralType) -> int | None:
    """What a schema calls a column of this type, None for types that schemas do not have."""
    if literal_type.WhichOneof("type") != "simple":
        return None
    return _SCHEMA_COLUMN_TYPES.get(literal_type.simple)


def _plain_accepts(downstream: types_pb2.LiteralType, upstream: types_pb2.LiteralType) -> bool:
    """Simple and enum types."""
    given = upstream.WhichOneof("type")
    wanted = downstream.WhichOneof("type")
    if given == "enum_type" and wanted == "simple" and downstream.simple == types_pb2.STRING:
        return True
    if wanted == "enum_type" and given == "simple" and upstream.simple == types_pb2.STRING:
        return True
    tag = upstream.structure.tag
    if (tag and tag != downstream.structure.tag) or given != wanted:
        return False
    if given == "enum_type":
        return upstream.enum_type == downstream.enum_type
    if given != "simple" or upstream.simple != downstream.simple:
        return False
    if upstream.simple != types_pb2.STRUCT or not upstream.metadata.fields or not downstream.metadata.fields:
        return True
    return json_schema.is_contained(upstream.metadata, downstream.metadata)
