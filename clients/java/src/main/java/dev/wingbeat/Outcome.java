package dev.wingbeat;

import dev.wingbeat.idl.launch.v1.LaunchOutcome;
import io.grpc.Status;

/**
 * What became of one item.
 *
 * @param execution created or found, or in the way; null for items that were refused
 * @param error of conflicts and refused items, else null
 */
public record Outcome(OutcomeStatus status, ExecutionId execution, WingbeatException error) {
  /** What becomes of items. */
  public enum OutcomeStatus {
    /** By this call, and durable. */
    CREATED,
    /** An item with the same key and content was launched before. */
    EXISTING,
    /** The key was used for another item, or the name belongs to another execution. */
    CONFLICT,
    /** It cannot be launched. */
    REFUSED,
  }

  static Outcome of(LaunchOutcome message) {
    var status = switch (message.getStatus()) {
      case LAUNCH_STATUS_CREATED -> OutcomeStatus.CREATED;
      case LAUNCH_STATUS_EXISTING -> OutcomeStatus.EXISTING;
      case LAUNCH_STATUS_CONFLICT -> OutcomeStatus.CONFLICT;
      default -> OutcomeStatus.REFUSED;
    };
    var isError = status == OutcomeStatus.CONFLICT || status == OutcomeStatus.REFUSED;
    return new Outcome(
        status,
        message.hasExecution() ? ExecutionId.of(message.getExecution()) : null,
        isError ? errorOf(message) : null);
  }

  private static WingbeatException errorOf(LaunchOutcome message) {
    var violations = message.getViolationsList().stream()
        .map(v -> new WingbeatException.Violation(v.getField(), v.getDescription()))
        .toList();
    return new WingbeatException(Status.fromCodeValue(message.getCode()).getCode(), message.getMessage(), violations);
  }
}
