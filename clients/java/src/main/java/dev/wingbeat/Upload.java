package dev.wingbeat;

import dev.wingbeat.idl.batch.v1.BatchServiceGrpc.BatchServiceStub;
import dev.wingbeat.idl.batch.v1.UploadBatchRequest;
import dev.wingbeat.idl.batch.v1.UploadBatchResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** One upload of rows: messages are made as the connection takes them, so memory does not grow with the rows. */
final class Upload implements ClientResponseObserver<UploadBatchRequest, UploadBatchResponse> {
  private static final int ROWS_MAX = 500;

  private final UploadBatchRequest first;
  private final Iterator<Item> rows;
  private final CompletableFuture<Batch> answer = new CompletableFuture<>();
  private ClientCallStreamObserver<UploadBatchRequest> call;
  private boolean begun;
  private boolean closed;

  Upload(UploadBatchRequest first, Iterator<Item> rows) {
    this.first = first;
    this.rows = rows;
  }

  Batch send(BatchServiceStub stub) {
    stub.uploadBatch(this);
    try {
      return answer.get();
    } catch (InterruptedException interrupted) {
      call.cancel("the thread was interrupted", interrupted);
      Thread.currentThread().interrupt();
      throw new WingbeatException(Status.Code.CANCELLED, "the thread was interrupted", List.of());
    } catch (ExecutionException failed) {
      if (failed.getCause() instanceof StatusRuntimeException status) {
        throw WingbeatException.of(status);
      }
      throw new IllegalStateException("a row could not be sent", failed.getCause());
    }
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<UploadBatchRequest> stream) {
    call = stream;
    stream.setOnReadyHandler(this::write);
  }

  private void write() {
    try {
      while (!closed && call.isReady()) {
        call.onNext(next());
        if (!rows.hasNext()) {
          closed = true;
          call.onCompleted();
        }
      }
    } catch (RuntimeException failed) { // of the rows
      closed = true;
      answer.completeExceptionally(failed);
      call.cancel("the rows ended with an error", failed);
    }
  }

  private UploadBatchRequest next() {
    if (!begun) {
      begun = true;
      return first;
    }
    var message = UploadBatchRequest.newBuilder();
    while (rows.hasNext() && message.getRowsCount() < ROWS_MAX) {
      message.addRows(rows.next().message());
    }
    return message.build();
  }

  @Override
  public void onNext(UploadBatchResponse message) {
    answer.complete(Batch.of(message.getBatch()));
  }

  @Override
  public void onError(Throwable failed) {
    closed = true;
    answer.completeExceptionally(failed);
  }

  @Override
  public void onCompleted() {
    answer.completeExceptionally(Status.INTERNAL.withDescription("the server sent no answer").asRuntimeException());
  }
}
