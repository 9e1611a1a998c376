package dev.wingbeat;

import com.flyteidl.core.Binary;
import com.flyteidl.core.Literal;
import com.flyteidl.core.LiteralCollection;
import com.flyteidl.core.LiteralMap;
import com.flyteidl.core.LiteralType;
import com.flyteidl.core.Primitive;
import com.flyteidl.core.Scalar;
import com.flyteidl.core.SimpleType;
import com.flyteidl.core.Union;
import com.flyteidl.core.Void;
import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import java.io.IOException;
import java.math.BigInteger;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePacker;

/** Values of Java as literals, by the type that is wanted: the opposite of {@link Values#decode}. */
final class Literals {
  private Literals() {}

  /**
   * A literal of the type that a gate asks for. Structures go as MessagePack; the first variant of a union that takes the
   * value counts. Throws IllegalArgumentException for a value that does not fit.
   */
  static Literal encode(Object value, LiteralType wanted) {
    switch (wanted.getTypeCase()) {
      case SIMPLE:
        return encode(value, wanted.getSimple());
      case ENUM_TYPE:
        if (value instanceof String text && wanted.getEnumType().getValuesList().contains(text)) {
          return literal(Primitive.newBuilder().setStringValue(text));
        }
        break;
      case UNION_TYPE:
        for (var variant : wanted.getUnionType().getVariantsList()) {
          try {
            return literal(Scalar.newBuilder().setUnion(Union.newBuilder().setValue(encode(value, variant)).setType(variant)));
          } catch (IllegalArgumentException misfit) {
            continue;
          }
        }
        break;
      case COLLECTION_TYPE:
        if (value instanceof List<?> items) {
          var literals = LiteralCollection.newBuilder();
          items.forEach(item -> literals.addLiterals(encode(item, wanted.getCollectionType())));
          return Literal.newBuilder().setCollection(literals).build();
        }
        break;
      case MAP_VALUE_TYPE:
        if (value instanceof Map<?, ?> entries) {
          var literals = LiteralMap.newBuilder();
          entries.forEach((key, item) -> literals.putLiterals((String) key, encode(item, wanted.getMapValueType())));
          return Literal.newBuilder().setMap(literals).build();
        }
        break;
      default:
        break;
    }
    throw misfit(value, wanted.getTypeCase());
  }

  private static Literal encode(Object value, SimpleType wanted) {
    if (wanted == SimpleType.NONE && value == null) {
      return literal(Scalar.newBuilder().setNoneType(Void.getDefaultInstance()));
    } else if (wanted == SimpleType.BOOLEAN && value instanceof Boolean is) {
      return literal(Primitive.newBuilder().setBoolean(is));
    } else if (wanted == SimpleType.INTEGER && isWhole(value)) {
      return literal(Primitive.newBuilder().setInteger(((Number) value).longValue()));
    } else if (wanted == SimpleType.FLOAT && value instanceof Number number) {
      return literal(Primitive.newBuilder().setFloatValue(number.doubleValue()));
    } else if (wanted == SimpleType.STRING && value instanceof String text) {
      return literal(Primitive.newBuilder().setStringValue(text));
    } else if (wanted == SimpleType.DATETIME && value instanceof Instant at) {
      return literal(Primitive.newBuilder().setDatetime(
          Timestamp.newBuilder().setSeconds(at.getEpochSecond()).setNanos(at.getNano())));
    } else if (wanted == SimpleType.DURATION && value instanceof Duration length) {
      // Both parts of the message have the same sign, the nanoseconds of a Duration are never negative.
      var seconds = length.isNegative() && length.getNano() > 0 ? length.getSeconds() + 1 : length.getSeconds();
      var nanos = seconds == length.getSeconds() ? length.getNano() : length.getNano() - 1_000_000_000;
      return literal(Primitive.newBuilder().setDuration(
          com.google.protobuf.Duration.newBuilder().setSeconds(seconds).setNanos(nanos)));
    } else if (wanted == SimpleType.STRUCT && value instanceof Map<?, ?>) {
      return literal(Scalar.newBuilder().setBinary(Binary.newBuilder().setTag("msgpack").setValue(packed(value))));
    }
    throw misfit(value, wanted);
  }

  private static boolean isWhole(Object value) {
    return value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte;
  }

  private static ByteString packed(Object value) {
    try (var packer = MessagePack.newDefaultBufferPacker()) {
      pack(packer, value);
      return ByteString.copyFrom(packer.toByteArray());
    } catch (IOException impossible) { // a buffer in memory
      throw new IllegalStateException(impossible);
    }
  }

  private static void pack(MessagePacker packer, Object value) throws IOException {
    if (value == null) {
      packer.packNil();
    } else if (value instanceof Boolean is) {
      packer.packBoolean(is);
    } else if (isWhole(value)) {
      packer.packLong(((Number) value).longValue());
    } else if (value instanceof BigInteger number) {
      packer.packBigInteger(number);
    } else if (value instanceof Number number) {
      packer.packDouble(number.doubleValue());
    } else if (value instanceof String text) {
      packer.packString(text);
    } else if (value instanceof List<?> items) {
      packer.packArrayHeader(items.size());
      for (var item : items) {
        pack(packer, item);
      }
    } else if (value instanceof Map<?, ?> entries) {
      packer.packMapHeader(entries.size());
      for (var entry : entries.entrySet()) {
        pack(packer, entry.getKey());
        pack(packer, entry.getValue());
      }
    } else {
      throw misfit(value, "part of a structure");
    }
  }

  private static Literal literal(Primitive.Builder primitive) {
    return literal(Scalar.newBuilder().setPrimitive(primitive));
  }

  private static Literal literal(Scalar.Builder scalar) {
    return Literal.newBuilder().setScalar(scalar).build();
  }

  private static IllegalArgumentException misfit(Object value, Object wanted) {
    return new IllegalArgumentException("%s does not fit the type %s".formatted(value, wanted));
  }
}
