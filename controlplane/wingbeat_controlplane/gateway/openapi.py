"""A description of the REST interface as Swagger 2.0, made from the same descriptors as the routes."""

from collections.abc import Iterable
from typing import cast

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from wingbeat_controlplane.gateway.descriptors import (
    SPECIAL_MESSAGES,
    TEXT_MESSAGES,
    WRAPPERS,
    is_map,
    is_message,
    is_repeated,
)
from wingbeat_controlplane.gateway.json_encoding import Json
from wingbeat_controlplane.gateway.routes import Route

_FORMATS: dict[int, tuple[str, str]] = {
    FieldDescriptor.CPPTYPE_INT32: ("integer", "int32"),
    FieldDescriptor.CPPTYPE_UINT32: ("integer", "int64"),
    FieldDescriptor.CPPTYPE_INT64: ("string", "int64"),
    FieldDescriptor.CPPTYPE_UINT64: ("string", "uint64"),
    FieldDescriptor.CPPTYPE_DOUBLE: ("number", "double"),
    FieldDescriptor.CPPTYPE_FLOAT: ("number", "float"),
    FieldDescriptor.CPPTYPE_BOOL: ("boolean", ""),
}


def describe(routes: Iterable[Route], *, version: str) -> bytes:
    """The description as JSON text."""
    definitions: dict[str, Json] = {}
    paths: dict[str, Json] = {}
    for number, route in enumerate(routes):
        operations = paths.setdefault(route.path, {})
        cast("dict[str, Json]", operations)[route.verb.lower()] = _operation(route, number, definitions)
    return orjson.dumps(
        {
            "swagger": "2.0",
            "info": {"title": "Wingbeat", "description": "FlyteIDL over HTTP", "version": version},
            "consumes": ["application/json", "application/octet-stream"],
            "produces": ["application/json", "application/octet-stream"],
            "paths": paths,
            "definitions": definitions,
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )


def _operation(route: Route, number: int, definitions: dict[str, Json]) -> Json:
    parameters: list[Json] = [
        {"name": variable.dotted, "in": "path", "required": True, **_scalar(variable.leaf)}
        for variable in route.variables
    ]
    if route.body:
        parameters.append({"name": "body", "in": "body", "schema": _reference(route.method.input_type, definitions)})
    else:
        parameters.extend(
            {"name": field.name, "in": "query", **_schema(field, definitions)}
            for field in route.method.input_type.fields
            if not is_message(field) and field.name not in route.bound
        )
    return {
        "operationId": f"{route.method.name}_{number}",
        "tags": [route.method.containing_service.name],
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "schema": _reference(route.method.output_type, definitions)},
            "default": {"description": "google.rpc.Status {code, message, details}"},
        },
    }


def _reference(descriptor: Descriptor, definitions: dict[str, Json]) -> dict[str, Json]:
    name = descriptor.full_name
    if name in TEXT_MESSAGES:
        return {"type": "string", "format": "date-time"} if name.endswith("Timestamp") else {"type": "string"}
    if name in WRAPPERS:
        return _scalar(descriptor.fields_by_name["value"])
    if name in SPECIAL_MESSAGES:
        return {}
    if name not in definitions:
        properties: dict[str, Json] = {}
        definitions[name] = {"type": "object", "properties": properties}  # before its fields, which may lead back here
        for field in descriptor.fields:
            properties[field.json_name] = _schema(field, definitions)
    return {"$ref": f"#/definitions/{name}"}


def _schema(field: FieldDescriptor, definitions: dict[str, Json]) -> dict[str, Json]:
    if is_map(field):
        value = cast("Descriptor", field.message_type).fields_by_name["value"]
        return {"type": "object", "additionalProperties": _schema(value, definitions)}
    one = _reference(cast("Descriptor", field.message_type), definitions) if is_message(field) else _scalar(field)
    return {"type": "array", "items": one} if is_repeated(field) else one


def _scalar(field: FieldDescriptor) -> dict[str, Json]:
    if field.enum_type is not None:
        return {"type": "string", "enum": list(field.enum_type.values_by_name)}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "format": "byte"}
    kind, form = _FORMATS.get(field.cpp_type, ("string", ""))
    return {"type": kind, "format": form} if form else {"type": kind}
