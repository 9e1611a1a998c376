package dev.wingbeat;

import dev.wingbeat.idl.watch.v1.ExecutionEnd;
import java.time.Instant;

/**
 * How an execution ended.
 *
 * @param phase SUCCEEDED, FAILED, ABORTED or TIMED_OUT
 * @param errorCode empty for those that succeeded, as is errorMessage
 */
public record End(ExecutionId execution, String phase, Instant endedAt, String errorCode, String errorMessage) {
  static End of(ExecutionEnd message) {
    var at = message.getEndedAt();
    return new End(
        ExecutionId.of(message.getExecution()),
        message.getPhase().name().replaceFirst("^EXECUTION_PHASE_", ""),
        Instant.ofEpochSecond(at.getSeconds(), at.getNanos()),
        message.getError().getCode(),
        message.getError().getMessage());
  }

  /** Whether it succeeded. */
  public boolean succeeded() {
    return phase.equals("SUCCEEDED");
  }
}
