package dev.wingbeat;

import com.google.protobuf.Duration;
import dev.wingbeat.idl.watch.v1.Transition;
import dev.wingbeat.idl.watch.v1.WatchServiceGrpc;
import dev.wingbeat.idl.watch.v1.WatchTransitionsRequest;
import dev.wingbeat.idl.watch.v1.WatchTransitionsResponse;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;
import java.util.List;

/**
 * Transitions as they become durable. Iteration ends when {@link #close} is called, from any thread, and with a
 * {@link WingbeatException} for a cursor that is too old and other refusals. Iterate in one thread.
 */
public final class Watch implements Iterator<Transition>, AutoCloseable {
  private static final long HEARTBEAT_S = 15;

  private final WatchServiceGrpc.WatchServiceBlockingStub stub;
  private final WatchTransitionsRequest.Builder request;
  private final Context.CancellableContext context = Context.current().withCancellation();
  private Iterator<WatchTransitionsResponse> stream;
  private Iterator<Transition> pending = List.<Transition>of().iterator();
  private String next = "";
  private volatile boolean closed;

  Watch(Channel channel, WatchTransitionsRequest request) {
    this.stub = WatchServiceGrpc.newBlockingStub(channel);
    this.request = request.toBuilder();
    if (!request.hasHeartbeat()) {
      this.request.setHeartbeat(Duration.newBuilder().setSeconds(HEARTBEAT_S));
    }
    receive();
  }

  /** Waits for a transition; false once the watch was closed. */
  @Override
  public boolean hasNext() {
    while (!closed && !pending.hasNext()) {
      receive();
    }
    return !closed;
  }

  @Override
  public Transition next() {
    if (!hasNext()) {
      throw new java.util.NoSuchElementException("the watch was closed");
    }
    return pending.next();
  }

  /** Where another watch goes on after what was read; in the middle of a message of the server, from its beginning. */
  public String cursor() {
    return pending.hasNext() ? request.getCursor() : next;
  }

  @Override
  public void close() {
    closed = true;
    context.cancel(null);
  }

  private void receive() {
    if (!next.isEmpty()) {
      request.setCursor(next);
    }
    for (int attempt = 0; !closed; attempt++) {
      WingbeatException error;
      try {
        if (stream == null) {
          stream = context.call(() -> stub.watchTransitions(request.build()));
        }
        if (stream.hasNext()) {
          var message = stream.next();
          pending = message.getTransitionsList().iterator();
          next = message.getCursor();
          return;
        }
        error = new WingbeatException(Status.Code.UNAVAILABLE, "the server ended the stream", List.of());
      } catch (StatusRuntimeException thrown) {
        error = WingbeatException.of(thrown);
      } catch (RuntimeException other) {
        throw other;
      } catch (Exception impossible) {
        throw new IllegalStateException(impossible);
      }
      stream = null;
      if (closed) {
        return;
      }
      if (error.code() != Status.Code.UNAVAILABLE && !error.asksForPatience()) {
        throw error;
      }
      Patience.pause(error, attempt);
    }
  }
}
