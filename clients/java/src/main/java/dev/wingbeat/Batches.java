package dev.wingbeat;

import dev.wingbeat.idl.batch.v1.AbortBatchRequest;
import dev.wingbeat.idl.batch.v1.BatchIdentifier;
import dev.wingbeat.idl.batch.v1.BatchServiceGrpc;
import dev.wingbeat.idl.batch.v1.BatchServiceGrpc.BatchServiceBlockingStub;
import dev.wingbeat.idl.batch.v1.CreateBatchRequest;
import dev.wingbeat.idl.batch.v1.GetBatchRequest;
import dev.wingbeat.idl.batch.v1.GetBatchResultsRequest;
import dev.wingbeat.idl.batch.v1.GetBatchResultsResponse;
import dev.wingbeat.idl.batch.v1.Manifest;
import dev.wingbeat.idl.batch.v1.PauseBatchRequest;
import dev.wingbeat.idl.batch.v1.ResumeBatchRequest;
import dev.wingbeat.idl.batch.v1.RetryBatchRequest;
import dev.wingbeat.idl.batch.v1.RowPhase;
import dev.wingbeat.idl.batch.v1.UploadBatchRequest;
import io.grpc.StatusRuntimeException;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.function.Function;

/** Batches of the client's project and domain, by their names: many rows, one execution each, launched by the server. */
public final class Batches {
  private static final int POLL_FIRST = 3;

  private final Client client;

  Batches(Client client) {
    this.client = client;
  }

  /** Begins a batch from a manifest in the store: JSON Lines, CSV or Parquet, by the end of its URI. */
  public Batch create(BatchSpec spec, String manifestUri) {
    return create(spec, Manifest.newBuilder().setUri(manifestUri).build());
  }

  /** Begins a batch from a manifest in the store. */
  public Batch create(BatchSpec spec, Manifest manifest) {
    var request = CreateBatchRequest.newBuilder()
        .setId(id(spec.name()))
        .setSpec(spec.message())
        .setManifest(manifest)
        .build();
    return Batch.of(called(stub -> stub.createBatch(request)).getBatch());
  }

  /**
   * Begins a batch from rows of this program: items of which inputs, name, labels, annotations and priority count, and the
   * key, by which results name the row; make them with {@link Item#row}. There is no batch before the last one is stored;
   * after an error the same rows with the same name can be sent again.
   */
  public Batch upload(BatchSpec spec, Iterator<Item> rows) {
    var first = UploadBatchRequest.newBuilder().setId(id(spec.name())).setSpec(spec.message()).build();
    return new Upload(first, rows).send(client.limited(BatchServiceGrpc.newStub(client.channel())));
  }

  /** How a batch stands. */
  public Batch get(String name) {
    var request = GetBatchRequest.newBuilder().setId(id(name)).build();
    return Batch.of(called(stub -> stub.getBatch(request)).getBatch());
  }

  /** Launches no further row; executions that run go on. */
  public Batch pause(String name) {
    var request = PauseBatchRequest.newBuilder().setId(id(name)).build();
    return Batch.of(called(stub -> stub.pauseBatch(request)).getBatch());
  }

  /** Goes on launching. */
  public Batch resume(String name) {
    var request = ResumeBatchRequest.newBuilder().setId(id(name)).build();
    return Batch.of(called(stub -> stub.resumeBatch(request)).getBatch());
  }

  /** Launches no further row and aborts executions that are alive; the cause is for people. */
  public Batch abort(String name, String cause) {
    var request = AbortBatchRequest.newBuilder().setId(id(name)).setCause(cause).build();
    return Batch.of(called(stub -> stub.abortBatch(request)).getBatch());
  }

  /**
   * Launches rows in these phases again, those that failed, timed out or were aborted unless phases are named; how many.
   */
  public long retry(String name, RowPhase... phases) {
    var request = RetryBatchRequest.newBuilder().setId(id(name)).addAllPhases(List.of(phases)).build();
    return called(stub -> stub.retryBatch(request)).getRows();
  }

  /** Waits until a batch has ended, for as long as the client's timeout. */
  public Batch await(String name) {
    var deadline = client.deadline();
    for (int attempt = POLL_FIRST; ; attempt++) {
      var found = get(name);
      if (found.state().ended()) {
        return found;
      }
      Client.checkDeadline(deadline);
      Patience.pause(attempt);
    }
  }

  /** Results written so far, without the first {@code skip}; it goes on when the server is restarted. */
  public Iterator<BatchResult> results(String name, long skip) {
    return new Results(name, skip);
  }

  private BatchIdentifier id(String name) {
    var scope = client.execution(name);
    return BatchIdentifier.newBuilder().setProject(scope.project()).setDomain(scope.domain()).setName(name).build();
  }

  /** All calls may be repeated. */
  private <T> T called(Function<BatchServiceBlockingStub, T> call) {
    var stub = client.limited(BatchServiceGrpc.newBlockingStub(client.channel()));
    return Patience.retrying(true, () -> call.apply(stub));
  }

  private final class Results implements Iterator<BatchResult> {
    private final GetBatchResultsRequest.Builder request;
    private final Queue<String> lines = new ArrayDeque<>();
    private Iterator<GetBatchResultsResponse> stream;
    private boolean ended;

    Results(String name, long skip) {
      request = GetBatchResultsRequest.newBuilder().setId(id(name)).setSkip(skip);
    }

    @Override
    public boolean hasNext() {
      while (lines.isEmpty() && !ended) {
        Patience.retrying(true, this::receive);
      }
      return !lines.isEmpty();
    }

    @Override
    public BatchResult next() {
      if (!hasNext()) {
        throw new NoSuchElementException("there are no further results");
      }
      return BatchResult.of(lines.remove());
    }

    private Void receive() {
      try {
        if (stream == null) {
          var stub = client.limited(BatchServiceGrpc.newBlockingStub(client.channel()));
          stream = stub.getBatchResults(request.build());
        }
        ended = !stream.hasNext();
        if (!ended) {
          lines.addAll(stream.next().getLinesList());
          request.setSkip(request.getSkip() + lines.size());
        }
        return null;
      } catch (StatusRuntimeException failed) {
        stream = null;
        throw failed;
      }
    }
  }
}
