import { fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { decode as decodeMessagePack } from "@msgpack/msgpack";
import { BlobType_BlobDimensionality } from "./gen/flyteidl/core/types_pb.js";
import { LiteralMapSchema, type Literal, type LiteralMap, type Primitive, type Scalar } from "./gen/flyteidl/core/literals_pb.js";

/** A value that an execution was given or has made. */
export type Value = null | boolean | number | bigint | string | Date | Duration | Uint8Array | File | Value[] | { [key: string]: Value };

/** Values by name. */
export type Values = Record<string, Value>;

/** A length of time. */
export class Duration {
  constructor(readonly milliseconds: number) {}
}

/** A file or folder, or a table; its content lies at `uri`. */
export class File {
  constructor(
    readonly uri: string,
    readonly format: string,
    readonly kind: "file" | "folder" | "table" | "literal",
  ) {}
}

/** Values that came with an answer, or by its link when they were too large for it. */
export async function readValues(
  literals: LiteralMap | undefined,
  link: string | undefined,
  { signal }: { signal?: AbortSignal },
): Promise<Values> {
  let found = literals;
  if (link && Object.keys(literals?.literals ?? {}).length === 0) {
    const answer = await fetch(link, signal ? { signal } : {});
    if (!answer.ok) {
      throw new Error(`values not read: the blob store answered ${answer.status} ${answer.statusText}`);
    }
    found = fromBinary(LiteralMapSchema, new Uint8Array(await answer.arrayBuffer()));
  }
  return mapped(found?.literals ?? {});
}

function mapped(literals: Record<string, Literal>): Values {
  return Object.fromEntries(Object.entries(literals).map(([name, literal]) => [name, decode(literal)]));
}

/**
 * A literal as a value. Integers are numbers where a number holds them exactly, else bigints; unions give their value, enums
 * their text, structs and dataclasses objects.
 */
export function decode(literal: Literal): Value {
  const { case: kind, value } = literal.value;
  switch (kind) {
    case "scalar":
      return decodeScalar(value);
    case "collection":
      return value.literals.map(decode);
    case "map":
      return mapped(value.literals);
    case "offloadedMetadata":
      return new File(value.uri, "", "literal");
    default:
      throw new TypeError("a literal of unknown kind");
  }
}

function decodeScalar(scalar: Scalar): Value {
  const { case: kind, value } = scalar.value;
  switch (kind) {
    case "noneType":
      return null;
    case "primitive":
      return decodePrimitive(value);
    case "union":
      return value.value ? decode(value.value) : null;
    case "generic":
      return value as Value;
    case "blob": {
      const type = value.metadata?.type;
      const isFolder = type?.dimensionality === BlobType_BlobDimensionality.MULTIPART;
      return new File(value.uri, type?.format ?? "", isFolder ? "folder" : "file");
    }
    case "schema":
      return new File(value.uri, "", "table");
    case "structuredDataset":
      return new File(value.uri, value.metadata?.structuredDatasetType?.format ?? "", "table");
    case "binary":
      return value.tag === "msgpack"
        ? (decodeMessagePack(value.value, { useBigInt64: true }) as Value)
        : value.value;
    default:
      throw new TypeError(`a scalar of unknown kind ${kind}`);
  }
}

function decodePrimitive(primitive: Primitive): Value {
  const { case: kind, value } = primitive.value;
  switch (kind) {
    case "integer":
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    case "floatValue":
    case "stringValue":
    case "boolean":
      return value;
    case "datetime":
      return timestampDate(value);
    case "duration":
      return new Duration(Number(value.seconds) * 1000 + value.nanos / 1e6);
    default:
      throw new TypeError("a primitive of unknown kind");
  }
}
