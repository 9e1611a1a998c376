package dev.wingbeat;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** An answer of the server that is not a success, or a call that did not reach it. */
public final class WingbeatException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Status.Code code;
  private final transient List<Violation> violations;
  private final Duration retryAfter;
  private final String reason;
  private final transient Map<String, String> metadata;

  /** What is wrong with one field of a request. */
  public record Violation(String field, String description) {
    @Override
    public String toString() {
      return field + ": " + description;
    }
  }

  WingbeatException(Status.Code code, String message, List<Violation> violations) {
    this(code, message, violations, null, "", Map.of(), null);
  }

  private WingbeatException(
      Status.Code code,
      String message,
      List<Violation> violations,
      Duration retryAfter,
      String reason,
      Map<String, String> metadata,
      Throwable cause) {
    super(Stream.concat(Stream.of(message), violations.stream().map(Violation::toString))
        .collect(Collectors.joining("; ")), cause);
    this.code = code;
    this.violations = List.copyOf(violations);
    this.retryAfter = retryAfter;
    this.reason = reason;
    this.metadata = Map.copyOf(metadata);
  }

  static WingbeatException of(StatusRuntimeException thrown) {
    List<Violation> violations = List.of();
    Duration retryAfter = null;
    String reason = "";
    Map<String, String> metadata = Map.of();
    var status = StatusProto.fromThrowable(thrown);
    for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
      try {
        if (detail.is(BadRequest.class)) {
          violations = detail.unpack(BadRequest.class).getFieldViolationsList().stream()
              .map(v -> new Violation(v.getField(), v.getDescription()))
              .toList();
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        } else if (detail.is(ErrorInfo.class)) {
          var info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          metadata = info.getMetadataMap();
        }
      } catch (InvalidProtocolBufferException broken) {
        thrown.addSuppressed(broken);
      }
    }
    var found = thrown.getStatus();
    var message = found.getDescription() == null ? found.getCode().toString() : found.getDescription();
    return new WingbeatException(found.getCode(), message, violations, retryAfter, reason, metadata, thrown);
  }

  /** Status of gRPC. */
  public Status.Code code() {
    return code;
  }

  /** What is wrong with which field, where the server said so. */
  public List<Violation> violations() {
    return violations;
  }

  /** How long the server asks to wait before the call is sent again; null: it did not say. */
  public Duration retryAfter() {
    return retryAfter;
  }

  /** Reason of google.rpc.ErrorInfo, empty where the server sent none. */
  public String reason() {
    return reason;
  }

  /** Metadata of google.rpc.ErrorInfo. */
  public Map<String, String> metadata() {
    return metadata;
  }

  boolean asksForPatience() {
    return code == Status.Code.RESOURCE_EXHAUSTED && retryAfter != null;
  }
}
