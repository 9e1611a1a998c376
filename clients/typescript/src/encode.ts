import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { encode as encodeMessagePack } from "@msgpack/msgpack";
import { LiteralSchema, type Literal, type PrimitiveSchema, type ScalarSchema } from "./gen/flyteidl/core/literals_pb.js";
import { SimpleType, type LiteralType } from "./gen/flyteidl/core/types_pb.js";
import { Duration } from "./values.js";

/** A value that can be given to a gate. */
export type Given = null | boolean | number | bigint | string | Date | Duration | readonly Given[] | { readonly [key: string]: Given };

/**
 * A literal of the type that a gate asks for: the opposite of `decode`. Structures go as MessagePack; the first variant of a
 * union that takes the value counts. Inputs of executions need none of this, they are converted by the server.
 */
export function encode(value: Given, wanted: LiteralType | undefined): Literal {
  const type = wanted?.type;
  switch (type?.case) {
    case "simple":
      return encodeSimple(value, type.value);
    case "enumType":
      if (typeof value === "string" && type.value.values.includes(value)) {
        return primitive({ value: { case: "stringValue", value } });
      }
      break;
    case "unionType":
      for (const variant of type.value.variants) {
        try {
          return scalar({ value: { case: "union", value: { value: encode(value, variant), type: variant } } });
        } catch {
          continue;
        }
      }
      break;
    case "collectionType":
      if (Array.isArray(value)) {
        const literals = value.map((item: Given) => encode(item, type.value));
        return create(LiteralSchema, { value: { case: "collection", value: { literals } } });
      }
      break;
    case "mapValueType":
      if (isObject(value)) {
        const entries = Object.entries(value).map(([key, item]) => [key, encode(item, type.value)]);
        return create(LiteralSchema, { value: { case: "map", value: { literals: Object.fromEntries(entries) } } });
      }
      break;
  }
  throw new TypeError(`${String(value)} does not fit the type ${type?.case}`);
}

function encodeSimple(value: Given, type: SimpleType): Literal {
  switch (type) {
    case SimpleType.NONE:
      if (value === null) {
        return scalar({ value: { case: "noneType", value: {} } });
      }
      break;
    case SimpleType.BOOLEAN:
      if (typeof value === "boolean") {
        return primitive({ value: { case: "boolean", value } });
      }
      break;
    case SimpleType.INTEGER:
      if (typeof value === "bigint" || Number.isSafeInteger(value)) {
        return primitive({ value: { case: "integer", value: BigInt(value as number | bigint) } });
      }
      break;
    case SimpleType.FLOAT:
      if (typeof value === "number") {
        return primitive({ value: { case: "floatValue", value } });
      }
      break;
    case SimpleType.STRING:
      if (typeof value === "string") {
        return primitive({ value: { case: "stringValue", value } });
      }
      break;
    case SimpleType.DATETIME:
      if (value instanceof Date) {
        return primitive({ value: { case: "datetime", value: timestampFromDate(value) } });
      }
      break;
    case SimpleType.DURATION:
      if (value instanceof Duration) {
        const seconds = Math.trunc(value.milliseconds / 1000);
        const nanos = Math.round((value.milliseconds - seconds * 1000) * 1e6);
        return primitive({ value: { case: "duration", value: { seconds: BigInt(seconds), nanos } } });
      }
      break;
    case SimpleType.STRUCT:
      if (isObject(value)) {
        const packed = encodeMessagePack(value, { useBigInt64: true });
        return scalar({ value: { case: "binary", value: { value: packed, tag: "msgpack" } } });
      }
      break;
  }
  throw new TypeError(`${String(value)} does not fit the type ${SimpleType[type]}`);
}

function isObject(value: Given): value is { readonly [key: string]: Given } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date || value instanceof Duration);
}

function scalar(value: MessageInitShape<typeof ScalarSchema>): Literal {
  return create(LiteralSchema, { value: { case: "scalar", value } });
}

function primitive(value: MessageInitShape<typeof PrimitiveSchema>): Literal {
  return scalar({ value: { case: "primitive", value } });
}
