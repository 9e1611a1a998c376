package dev.wingbeat;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;

/** Calls that are sent again. */
final class Patience {
  private Patience() {}

  /** Calls again while the server asks for it and, if the call may be repeated, while it cannot be reached. */
  static <T> T retrying(boolean repeatable, Supplier<T> call) {
    for (int attempt = 0; ; attempt++) {
      try {
        return call.get();
      } catch (StatusRuntimeException thrown) {
        var error = WingbeatException.of(thrown);
        if (!error.asksForPatience() && !(repeatable && error.code() == Status.Code.UNAVAILABLE)) {
          throw error;
        }
        pause(error, attempt);
      }
    }
  }

  /** Waits as long as the server says, else as {@link #pause(int)}. */
  static void pause(WingbeatException after, int attempt) {
    if (after.retryAfter() == null) {
      pause(attempt);
    } else {
      sleep(after.retryAfter());
    }
  }

  /** Waits from 50 ms doubled up to 5 s, a random part of it. */
  static void pause(int attempt) {
    long most = Math.min(50L << Math.min(attempt, 10), 5000);
    sleep(Duration.ofMillis(most / 2 + ThreadLocalRandom.current().nextLong(most / 2)));
  }

  private static void sleep(Duration wait) {
    try {
      Thread.sleep(wait.toMillis());
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new WingbeatException(Status.Code.CANCELLED, "the thread was interrupted", List.of());
    }
  }
}
