package dev.wingbeat;

import com.flyteidl.admin.ExecutionRelaunchRequest;
import com.flyteidl.admin.ExecutionTerminateRequest;
import com.flyteidl.admin.GetVersionRequest;
import com.flyteidl.admin.SignalListRequest;
import com.flyteidl.admin.SignalSetRequest;
import com.flyteidl.admin.WorkflowExecutionGetDataRequest;
import com.flyteidl.admin.WorkflowExecutionGetDataResponse;
import com.flyteidl.admin.WorkflowExecutionGetRequest;
import com.flyteidl.core.Literal;
import com.flyteidl.core.SignalIdentifier;
import com.flyteidl.service.AdminServiceGrpc;
import com.flyteidl.service.SignalServiceGrpc;
import dev.wingbeat.idl.launch.v1.LaunchRequest;
import dev.wingbeat.idl.launch.v1.LaunchServiceGrpc;
import dev.wingbeat.idl.recovery.v1.RecoverExecutionRequest;
import dev.wingbeat.idl.recovery.v1.RecoveryServiceGrpc;
import dev.wingbeat.idl.watch.v1.WaitExecutionsRequest;
import dev.wingbeat.idl.watch.v1.WatchServiceGrpc;
import dev.wingbeat.idl.watch.v1.WatchTransitionsRequest;
import io.grpc.ChannelCredentials;
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
import java.nio.file.Path;
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
  private static final int SIGNALS_PAGE = 100;

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
    return connect(target, InsecureChannelCredentials.create());
  }

  /** Connects with TLS to "host:port", by the authorities in a PEM file. Throws IOException if it cannot be read. */
  public static Client connect(String target, Path ca) throws IOException {
    return connect(target, TlsChannelCredentials.newBuilder().trustManager(ca.toFile()).build());
  }

  /** Connects to "host:port"; {@code TlsChannelCredentials.create()} is TLS by the authorities of the system. */
  public static Client connect(String target, ChannelCredentials credentials, ClientInterceptor... interceptors) {
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
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel));
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

  /** Batches of the client's project and domain: many rows, one execution each. */
  public Batches batches() {
    return new Batches(this);
  }

  /** Aborts an execution; the cause is for people. FAILED_PRECONDITION: it has ended. */
  public void terminate(ExecutionId id, String cause) {
    var request = ExecutionTerminateRequest.newBuilder().setId(id.flyte()).setCause(cause).build();
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel));
    Patience.retrying(true, () -> admin.terminateExecution(request));
  }

  /** Runs an execution once more, as a new one. */
  public ExecutionId relaunch(ExecutionId id) {
    var made = new ExecutionId(id.project(), id.domain(), Names.random());
    var request = ExecutionRelaunchRequest.newBuilder().setId(id.flyte()).setName(made.name()).build();
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel));
    return once(made, () -> admin.relaunchExecution(request));
  }

  /** Makes a new execution that takes over what succeeded in this one. */
  public ExecutionId recover(ExecutionId id, Recovery recovery) {
    var name = recovery.name().isEmpty() ? Names.random() : recovery.name();
    var request = RecoverExecutionRequest.newBuilder()
        .setExecution(id.message())
        .setName(name)
        .setVersion(recovery.version())
        .addAllRerun(recovery.rerun())
        .addAllAssumeUnchanged(recovery.assumeUnchanged())
        .build();
    var stub = limited(RecoveryServiceGrpc.newBlockingStub(channel));
    if (recovery.name().isEmpty()) {
      return once(new ExecutionId(id.project(), id.domain(), name), () -> stub.recoverExecution(request));
    }
    return ExecutionId.of(Patience.retrying(true, () -> stub.recoverExecution(request)).getExecution());
  }

  /** Makes an execution whose name was made here, so that what a try whose answer was lost has made is found. */
  private ExecutionId once(ExecutionId made, Supplier<?> call) {
    try {
      Patience.retrying(true, call);
    } catch (WingbeatException error) {
      if (error.code() != Status.Code.ALREADY_EXISTS || !exists(made)) {
        throw error;
      }
    }
    return made;
  }

  private boolean exists(ExecutionId id) {
    var request = WorkflowExecutionGetRequest.newBuilder().setId(id.flyte()).build();
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel));
    try {
      Patience.retrying(true, () -> admin.getExecution(request));
      return true;
    } catch (WingbeatException absent) {
      return false;
    }
  }

  /** What gates of an execution wait for or have got. */
  public List<Signal> signals(ExecutionId id) throws IOException {
    var request = SignalListRequest.newBuilder().setWorkflowExecutionId(id.flyte()).setLimit(SIGNALS_PAGE);
    var stub = limited(SignalServiceGrpc.newBlockingStub(channel));
    var signals = new ArrayList<Signal>();
    do {
      var page = Patience.retrying(true, () -> stub.listSignals(request.build()));
      for (var signal : page.getSignalsList()) {
        var isSet = signal.getValue().getValueCase() != Literal.ValueCase.VALUE_NOT_SET;
        var value = isSet ? Values.decode(signal.getValue()) : null;
        signals.add(new Signal(id, signal.getId().getSignalId(), signal.getType(), isSet, value));
      }
      request.setToken(page.getToken());
    } while (!request.getToken().isEmpty());
    return signals;
  }

  /**
   * Gives a gate its value: what it asks for, or true (false) for an approval. NOT_FOUND: no gate of that name waits. Throws
   * IllegalArgumentException for a value of another type.
   */
  public void setSignal(ExecutionId id, String signal, Object value) throws IOException {
    var found = signals(id).stream().filter(one -> one.id().equals(signal)).findFirst().orElseThrow(() ->
        new WingbeatException(Status.Code.NOT_FOUND, "no gate of %s waits for %s".formatted(id, signal), List.of()));
    var request = SignalSetRequest.newBuilder()
        .setId(SignalIdentifier.newBuilder().setSignalId(signal).setExecutionId(id.flyte()))
        .setValue(Literals.encode(value, found.type()))
        .build();
    var stub = limited(SignalServiceGrpc.newBlockingStub(channel));
    Patience.retrying(true, () -> stub.setSignal(request));
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
    var request = WorkflowExecutionGetDataRequest.newBuilder().setId(id.flyte()).build();
    var admin = limited(AdminServiceGrpc.newBlockingStub(channel));
    return called(() -> admin.getExecutionData(request));
  }

  Instant deadline() {
    return timeout == null ? null : Instant.now().plus(timeout);
  }

  /** Throws a WingbeatException of code DEADLINE_EXCEEDED when it is too late. */
  static void checkDeadline(Instant deadline) {
    if (deadline != null && Instant.now().isAfter(deadline)) {
      throw new WingbeatException(Status.Code.DEADLINE_EXCEEDED, "it has not ended in time", List.of());
    }
  }

  <S extends AbstractStub<S>> S limited(S stub) {
    return limited(stub, deadline());
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
