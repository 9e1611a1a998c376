package dev.wingbeat;

import com.flyteidl.admin.GetVersionRequest;
import com.flyteidl.admin.WorkflowExecutionGetDataRequest;
import com.flyteidl.admin.WorkflowExecutionGetDataResponse;
import com.flyteidl.core.WorkflowExecutionIdentifier;
import com.flyteidl.service.AdminServiceGrpc;
import dev.wingbeat.idl.launch.v1.LaunchRequest;
import dev.wingbeat.idl.launch.v1.LaunchServiceGrpc;
import dev.wingbeat.idl.watch.v1.WaitExecutionsRequest;
import dev.wingbeat.idl.watch.v1.WatchServiceGrpc;
import dev.wingbeat.idl.watch.v1.WatchTransitionsRequest;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.AbstractStub;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A connection to an installation. Make one, keep it, and share it between threads.
 *
 * <p>Calls block. A thread that is interrupted leaves its call with a {@link WingbeatException} of code CANCELLED;
 * {@link #withTimeout} gives a client whose calls have a deadline. Calls that may be repeated are: those that the server
 * turned away because its engines are behind wait as long as it says, and a watch goes on where it was after the server
 * was restarted.
 */
public final class Client implements AutoCloseable {
  private static final int MESSAGE_BYTES_MAX = 64 << 20;
  private static final int ITEMS_MAX = 10_000;

  private final ManagedChannel channel;
  private final String project;
  private final String domain;
  private final Duration timeout;

  private Client(ManagedChannel channel, String project, String domain, Duration timeout) {
    this.channel = channel;
    this.project = project;
    this.domain = domain;
    this.timeout = timeout;
  }

  /** Connects without encryption to "host:port". The first call waits for the connection. */
  public static Client connect(String target) {
    return connect(target, false);
  }

  /** Connects to "host:port", with TLS by the certificates of the system if asked for. */
  public static Client connect(String target, boolean tls, ClientInterceptor... interceptors) {
    var credentials = tls ? TlsChannelCredentials.create() : InsecureChannelCredentials.create();
    var channel = Grpc.newChannelBuilder(target, credentials)
        .maxInboundMessageSize(MESSAGE_BYTES_MAX)
        .intercept(interceptors)
        .build();
    return new Client(channel, "flytesnacks", "development", null);
  }

  /** The same connection for items of another project and domain; flytesnacks and development unless set. */
  public Client in(String project, String domain) {
    return new Client(channel, project, domain, timeout);
  }

  /** The same connection, whose calls end with DEADLINE_EXCEEDED after so long. */
  public Client withTimeout(Duration timeout) {
    return new Client(channel, project, domain, timeout);
  }

  /** The channel itself, for services that the client has no methods for. */
  public ManagedChannel channel() {
    return channel;
  }

  /** An execution in the client's project and domain. */
  public ExecutionId execution(String name) {
    return new ExecutionId(project, domain, name);
  }

  /** Version of the installation. */
  public String version() {
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel), deadline());
    return called(() -> admin.getVersion(GetVersionRequest.getDefaultInstance())).getControlPlaneVersion().getVersion();
  }

  /** See {@link #launch(List)}. */
  public Outcome launch(Item item) {
    return launch(List.of(item)).get(0);
  }

  /**
   * Launches items, in calls of at most 10,000, and returns an outcome for each, in their order. An item that is refused
   * leaves the others alone: look at {@link Outcome#error}. While the engines are behind it waits as the server says and
   * sends the call again; after a call that broke off only if every item has a key, since others might be launched twice.
   */
  public List<Outcome> launch(List<Item> items) {
    var deadline = deadline();
    var outcomes = new ArrayList<Outcome>(items.size());
    for (int first = 0; first < items.size(); first += ITEMS_MAX) {
      var request = LaunchRequest.newBuilder().setProject(project).setDomain(domain);
      items.subList(first, Math.min(first + ITEMS_MAX, items.size())).forEach(item -> request.addItems(item.message()));
      var keyed = request.getItemsList().stream().noneMatch(item -> item.getIdempotencyKey().isEmpty());
      var launcher = limited(LaunchServiceGrpc.newBlockingStub(channel), deadline);
      var answer = Patience.retrying(keyed, () -> launcher.launch(request.build()));
      answer.getOutcomesList().forEach(outcome -> outcomes.add(Outcome.of(outcome)));
    }
    return outcomes;
  }

  /**
   * Watches transitions in commit order, each once, also over restarts of the server. Returns when the server has said from
   * where, so that whatever is launched afterwards is seen. The request's cursor is where it goes on, its heartbeat is set
   * if it has none.
   */
  public Watch watch(WatchTransitionsRequest request) {
    return new Watch(channel, request);
  }

  /** Waits until an execution has ended. Throws {@link ExecutionFailedException} unless it succeeded. */
  public End await(ExecutionId id) {
    var end = awaitAll(List.of(id)).get(0);
    if (!end.succeeded()) {
      throw new ExecutionFailedException(end);
    }
    return end;
  }

  /** Waits until all executions have ended, whatever their ends, and over restarts of the server. */
  public List<End> awaitAll(Collection<ExecutionId> ids) {
    var deadline = deadline();
    var ends = new HashMap<ExecutionId, End>();
    for (int attempt = 0; ; attempt++) {
      var open = ids.stream().filter(id -> !ends.containsKey(id)).limit(ITEMS_MAX).toList();
      if (open.isEmpty()) {
        return ids.stream().map(ends::get).toList();
      }
      var before = ends.size();
      try {
        awaitSome(open, deadline, ends);
      } catch (StatusRuntimeException thrown) {
        var error = WingbeatException.of(thrown);
        if (error.code() != Status.Code.UNAVAILABLE) {
          throw error;
        }
        attempt = ends.size() > before ? 0 : attempt;
        Patience.pause(error, attempt);
      }
    }
  }

  private void awaitSome(List<ExecutionId> open, Instant deadline, Map<ExecutionId, End> ends) {
    var request = WaitExecutionsRequest.newBuilder();
    open.forEach(id -> request.addExecutions(id.message()));
    var context = Context.current().withCancellation();
    var previous = context.attach();
    try {
      limited(WatchServiceGrpc.newBlockingStub(channel), deadline).waitExecutions(request.build()).forEachRemaining(answer ->
          answer.getEndsList().stream().map(End::of).forEach(end -> ends.put(end.execution(), end)));
    } finally {
      context.detach(previous);
      context.cancel(null);
    }
  }

  /** What an execution that succeeded has made, by name; see {@link Values#decode} for the types. */
  public Map<String, Object> outputs(ExecutionId id) throws IOException {
    var data = data(id);
    return Values.read(data.getFullOutputs(), data.getOutputs().getUrl());
  }

  /** What an execution was given, by name. */
  public Map<String, Object> inputs(ExecutionId id) throws IOException {
    var data = data(id);
    return Values.read(data.getFullInputs(), data.getInputs().getUrl());
  }

  private WorkflowExecutionGetDataResponse data(ExecutionId id) {
    var named = WorkflowExecutionIdentifier.newBuilder()
        .setProject(id.project())
        .setDomain(id.domain())
        .setName(id.name());
    var request = WorkflowExecutionGetDataRequest.newBuilder().setId(named).build();
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel), deadline());
    return called(() -> admin.getExecutionData(request));
  }

  private Instant deadline() {
    return timeout == null ? null : Instant.now().plus(timeout);
  }

  private static <S extends AbstractStub<S>> S limited(S stub, Instant deadline) {
    return deadline == null
        ? stub
        : stub.withDeadlineAfter(Duration.between(Instant.now(), deadline).toNanos(), TimeUnit.NANOSECONDS);
  }

  private static <T> T called(Supplier<T> call) {
    try {
      return call.get();
    } catch (StatusRuntimeException thrown) {
      throw WingbeatException.of(thrown);
    }
  }

  /** Ends the connection, of all clients that share it, and every call on it. */
  @Override
  public void close() {
    channel.shutdownNow();
  }
}
