package dev.wingbeat;

import dev.wingbeat.idl.batch.v1.BatchCounts;

/**
 * How a batch stands.
 *
 * @param reason why it failed, or what it waits for
 * @param counts of rows by phase, exact in one snapshot
 */
public record Batch(
    String project, String domain, String name, State state, String reason, BatchCounts counts, String resultsUri) {
  /** Where a batch stands. */
  public enum State {
    UNSPECIFIED,
    /** The manifest is read for the first time. */
    CHECKING,
    RUNNING,
    PAUSED,
    ABORTING,
    COMPLETED,
    ABORTED,
    /** The manifest cannot be used. */
    FAILED;

    /** Whether nothing more will happen, unless rows are retried. */
    public boolean ended() {
      return this == COMPLETED || this == ABORTED || this == FAILED;
    }
  }

  static Batch of(dev.wingbeat.idl.batch.v1.Batch message) {
    var id = message.getId();
    return new Batch(
        id.getProject(),
        id.getDomain(),
        id.getName(),
        State.valueOf(message.getState().name().replaceFirst("^BATCH_STATE_", "")),
        message.getMessage(),
        message.getCounts(),
        message.getResultsUri());
  }

  /** Whether every row succeeded. */
  public boolean succeeded() {
    return state == State.COMPLETED && counts.getSucceeded() == counts.getTotal();
  }
}
