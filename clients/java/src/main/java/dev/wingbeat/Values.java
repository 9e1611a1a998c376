package dev.wingbeat;

import com.flyteidl.core.BlobType;
import com.flyteidl.core.Literal;
import com.flyteidl.core.LiteralMap;
import com.flyteidl.core.Primitive;
import com.flyteidl.core.Scalar;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import java.io.IOException;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.msgpack.core.MessagePack;

/** Literals as values of Java. */
public final class Values {
  private Values() {}

  /** Values that came with an answer, or by its link when they were too large for it. */
  static Map<String, Object> read(LiteralMap literals, String link) throws IOException {
    var found = literals;
    if (literals.getLiteralsCount() == 0 && !link.isEmpty()) {
      try (var content = URI.create(link).toURL().openStream()) {
        found = LiteralMap.parseFrom(content);
      }
    }
    return decode(found.getLiteralsMap());
  }

  private static Map<String, Object> decode(Map<String, Literal> literals) throws IOException {
    var values = new LinkedHashMap<String, Object>();
    for (var entry : literals.entrySet()) {
      values.put(entry.getKey(), decode(entry.getValue()));
    }
    return values;
  }

  /**
   * A literal as a value: null, Boolean, Long, Double, String, {@link Instant}, {@link Duration}, {@link List}, {@link Map}
   * (maps of literals, structs and dataclasses), {@link File}, and byte[] for binaries that are not MessagePack. Unions give
   * their value, enums their text.
   */
  public static Object decode(Literal literal) throws IOException {
    switch (literal.getValueCase()) {
      case SCALAR:
        return decode(literal.getScalar());
      case COLLECTION:
        var items = new ArrayList<Object>(literal.getCollection().getLiteralsCount());
        for (var item : literal.getCollection().getLiteralsList()) {
          items.add(decode(item));
        }
        return items;
      case MAP:
        return decode(literal.getMap().getLiteralsMap());
      case OFFLOADED_METADATA:
        return new File(literal.getOffloadedMetadata().getUri(), "", File.Kind.LITERAL);
      default:
        throw new IllegalArgumentException("a literal of unknown kind " + literal.getValueCase());
    }
  }

  private static Object decode(Scalar scalar) throws IOException {
    switch (scalar.getValueCase()) {
      case NONE_TYPE:
        return null;
      case PRIMITIVE:
        return decode(scalar.getPrimitive());
      case UNION:
        return decode(scalar.getUnion().getValue());
      case GENERIC:
        return decode(scalar.getGeneric());
      case BLOB:
        var type = scalar.getBlob().getMetadata().getType();
        var isFolder = type.getDimensionality() == BlobType.BlobDimensionality.MULTIPART;
        return new File(scalar.getBlob().getUri(), type.getFormat(), isFolder ? File.Kind.FOLDER : File.Kind.FILE);
      case SCHEMA:
        return new File(scalar.getSchema().getUri(), "", File.Kind.TABLE);
      case STRUCTURED_DATASET:
        var table = scalar.getStructuredDataset();
        var format = table.getMetadata().getStructuredDatasetType().getFormat();
        return new File(table.getUri(), format, File.Kind.TABLE);
      case BINARY:
        var content = scalar.getBinary().getValue().toByteArray();
        return scalar.getBinary().getTag().equals("msgpack") ? unpack(content) : content;
      default:
        throw new IllegalArgumentException("a scalar of unknown kind " + scalar.getValueCase());
    }
  }

  private static Object decode(Primitive primitive) {
    return switch (primitive.getValueCase()) {
      case INTEGER -> primitive.getInteger();
      case FLOAT_VALUE -> primitive.getFloatValue();
      case STRING_VALUE -> primitive.getStringValue();
      case BOOLEAN -> primitive.getBoolean();
      case DATETIME -> Instant.ofEpochSecond(primitive.getDatetime().getSeconds(), primitive.getDatetime().getNanos());
      case DURATION -> Duration.ofSeconds(primitive.getDuration().getSeconds(), primitive.getDuration().getNanos());
      case VALUE_NOT_SET -> throw new IllegalArgumentException("a primitive without value");
    };
  }

  private static Map<String, Object> decode(Struct struct) {
    var values = new LinkedHashMap<String, Object>();
    struct.getFieldsMap().forEach((name, value) -> values.put(name, decode(value)));
    return values;
  }

  private static Object decode(Value value) {
    return switch (value.getKindCase()) {
      case NUMBER_VALUE -> value.getNumberValue();
      case STRING_VALUE -> value.getStringValue();
      case BOOL_VALUE -> value.getBoolValue();
      case STRUCT_VALUE -> decode(value.getStructValue());
      case LIST_VALUE -> value.getListValue().getValuesList().stream().map(item -> decode(item)).collect(Collectors.toList());
      case NULL_VALUE, KIND_NOT_SET -> null;
    };
  }

  private static Object unpack(byte[] content) throws IOException {
    try (var unpacker = MessagePack.newDefaultUnpacker(content)) {
      return plain(unpacker.unpackValue());
    }
  }

  private static Object plain(org.msgpack.value.Value value) {
    return switch (value.getValueType()) {
      case NIL -> null;
      case BOOLEAN -> value.asBooleanValue().getBoolean();
      case INTEGER -> value.asIntegerValue().isInLongRange()
          ? (Object) value.asIntegerValue().asLong()
          : value.asIntegerValue().asBigInteger();
      case FLOAT -> value.asFloatValue().toDouble();
      case STRING -> value.asStringValue().asString();
      case BINARY -> value.asBinaryValue().asByteArray();
      case ARRAY -> {
        var items = new ArrayList<Object>();
        value.asArrayValue().forEach(item -> items.add(plain(item)));
        yield items;
      }
      case MAP -> {
        var entries = new HashMap<Object, Object>();
        value.asMapValue().map().forEach((key, item) -> entries.put(plain(key), plain(item)));
        yield entries;
      }
      case EXTENSION -> value.asExtensionValue().getData();
    };
  }
}
