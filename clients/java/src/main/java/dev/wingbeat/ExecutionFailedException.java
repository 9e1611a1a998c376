package dev.wingbeat;

/** An execution that was waited for has not succeeded. */
public final class ExecutionFailedException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final transient End end;

  ExecutionFailedException(End end) {
    super("%s is %s: %s %s".formatted(end.execution(), end.phase(), end.errorCode(), end.errorMessage()).strip());
    this.end = end;
  }

  /** How it ended. */
  public End end() {
    return end;
  }
}
