import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, ExecutionId, Services } from "./client.js";
import { backoffMs, patience, pause, retrying, WingbeatError } from "./errors.js";
import {
  BatchState as State,
  BrokenRows,
  type Batch as BatchMessage,
  type BatchCounts,
  type BatchSpecSchema,
  type UploadBatchRequestSchema,
} from "./gen/wingbeatidl/batch/v1/batch_pb.js";
import type { RowPhase } from "./gen/wingbeatidl/batch/v1/row_pb.js";
import { content, target, type Item } from "./launch.js";
import { newName } from "./names.js";
import type { Value } from "./values.js";

/** How many rows go in one message of an upload. */
const ROWS_MAX = 500;

/** What a batch launches, and how fast. */
export interface BatchSpec {
  /** In the client's project and domain; the same name with the same content is the same batch. One is made unless set. */
  name?: string;
  /** What all rows have in common: what they run, inputs of rows that have none of that name, labels. */
  template: Item;
  /** Executions launched in a second at most; as fast as it goes unless set. */
  ratePerS?: number;
  /** Executions alive at once at most; 1,000 unless set. */
  aliveMax?: number;
  /** A row of a manifest that cannot be read fails by itself, instead of the batch. */
  refuseBrokenRows?: boolean;
}

/** A file of rows in the store of the installation: JSON Lines, CSV or Parquet, by the end of its URI. */
export interface Manifest {
  uri: string;
  /** Has the row's key, and is no input; `@key` unless set. */
  keyColumn?: string;
}

/** Where a batch stands. */
export type BatchState =
  | "UNSPECIFIED"
  | "CHECKING"
  | "RUNNING"
  | "PAUSED"
  | "ABORTING"
  | "COMPLETED"
  | "ABORTED"
  | "FAILED";

/** How a batch stands. */
export interface Batch {
  project: string;
  domain: string;
  name: string;
  state: BatchState;
  /** Why it failed, or what it waits for. */
  reason: string;
  /** Rows by phase, exact in one snapshot. */
  counts: Record<"total" | "pending" | "queued" | "running" | "succeeded" | "failed" | "timedOut" | "aborted" | "refused", number>;
  resultsUri: string;
}

/** One line of the results: how one attempt of a row ended. */
export interface BatchResult {
  row: number;
  line: number;
  key: string;
  attempt: number;
  phase: "SUCCEEDED" | "FAILED" | "TIMED_OUT" | "ABORTED" | "REFUSED";
  /** Null for rows that were refused. */
  execution: ExecutionId | null;
  error: string | null;
  /** As JSON has them; those that are too large lie at `outputs_uri`. */
  outputs: Record<string, Value> | null;
  outputs_uri: string | null;
  ended_at: string | null;
}

/** Batches of a project and domain, by their names. */
export class Batches {
  constructor(
    private readonly services: Services,
    private readonly scope: { project: string; domain: string },
  ) {}

  /** Begins a batch from a manifest in the store. */
  create(spec: BatchSpec, manifest: Manifest, options: CallOptions = {}): Promise<Batch> {
    const request = { ...this.#spec(spec), manifest: { uri: manifest.uri, keyColumn: manifest.keyColumn ?? "" } };
    return changed(() => this.services.batch.createBatch(request, options), options);
  }

  /**
   * Begins a batch from rows of this program: items of which inputs, name, labels, annotations and priority count, and the
   * key, by which results name the row. There is no batch before the last one is stored; after an error the same rows with
   * the same name can be sent again.
   */
  async upload(spec: BatchSpec, rows: Iterable<Item> | AsyncIterable<Item>, options: CallOptions = {}): Promise<Batch> {
    try {
      const answer = await this.services.batch.uploadBatch(messages(this.#spec(spec), rows), options);
      return batchOf(answer.batch);
    } catch (thrown) {
      throw WingbeatError.from(thrown, options.signal);
    }
  }

  /** How a batch stands. */
  get(name: string, options: CallOptions = {}): Promise<Batch> {
    return changed(() => this.services.batch.getBatch({ id: this.#id(name) }, options), options);
  }

  /** Launches no further row; executions that run go on. */
  pause(name: string, options: CallOptions = {}): Promise<Batch> {
    return changed(() => this.services.batch.pauseBatch({ id: this.#id(name) }, options), options);
  }

  /** Goes on launching. */
  resume(name: string, options: CallOptions = {}): Promise<Batch> {
    return changed(() => this.services.batch.resumeBatch({ id: this.#id(name) }, options), options);
  }

  /** Launches no further row and aborts executions that are alive; `cause` is for people. */
  abort(name: string, cause = "", options: CallOptions = {}): Promise<Batch> {
    return changed(() => this.services.batch.abortBatch({ id: this.#id(name), cause }, options), options);
  }

  /**
   * Launches rows in these phases again, those that failed, timed out or were aborted unless phases are named; how many.
   */
  async retry(name: string, phases: RowPhase[] = [], options: CallOptions = {}): Promise<number> {
    const request = { id: this.#id(name), phases };
    const answer = await retrying(() => this.services.batch.retryBatch(request, options), {
      repeatable: true,
      signal: options.signal,
    });
    return Number(answer.rows);
  }

  /** Waits until a batch has ended. `timeoutMs` is of each question, `signal` ends the wait. */
  async wait(name: string, options: CallOptions = {}): Promise<Batch> {
    for (let attempt = 2; ; attempt++) {
      const found = await this.get(name, options);
      if (["COMPLETED", "ABORTED", "FAILED"].includes(found.state)) {
        return found;
      }
      await pause(backoffMs(attempt), options.signal);
    }
  }

  /** Results written so far, without the first `skip`; goes on when the server is restarted. */
  async *results(name: string, skip = 0, options: CallOptions = {}): AsyncGenerator<BatchResult, void, void> {
    let read = skip;
    for (let attempt = 0; ; attempt++) {
      try {
        const request = { id: this.#id(name), skip: BigInt(read) };
        for await (const message of this.services.batch.getBatchResults(request, options)) {
          for (const line of message.lines) {
            read++;
            attempt = 0;
            yield JSON.parse(line) as BatchResult;
          }
        }
        return;
      } catch (thrown) {
        await patience(thrown, attempt, true, options.signal);
      }
    }
  }

  #id(name: string) {
    return { ...this.scope, name };
  }

  #spec(spec: BatchSpec) {
    const { project, domain, idempotencyKey, name, ...shared } = content(spec.template);
    const message: MessageInitShape<typeof BatchSpecSchema> = {
      template: { ...shared, target: target(spec.template) },
      ratePerS: spec.ratePerS ?? 0,
      aliveMax: spec.aliveMax ?? 0,
      brokenRows: spec.refuseBrokenRows ? BrokenRows.REFUSE_ROW : BrokenRows.UNSPECIFIED,
    };
    return { id: this.#id(spec.name ?? newName()), spec: message };
  }
}

async function* messages(
  first: MessageInitShape<typeof UploadBatchRequestSchema>,
  rows: Iterable<Item> | AsyncIterable<Item>,
): AsyncGenerator<MessageInitShape<typeof UploadBatchRequestSchema>> {
  yield first;
  let portion = [];
  for await (const row of rows) {
    portion.push(content(row));
    if (portion.length === ROWS_MAX) {
      yield { rows: portion };
      portion = [];
    }
  }
  yield { rows: portion };
}

/** How a batch stands after a call, all of which may be repeated. */
async function changed(
  call: () => Promise<{ batch?: BatchMessage | undefined }>,
  { signal }: CallOptions,
): Promise<Batch> {
  return batchOf((await retrying(call, { repeatable: true, signal })).batch);
}

function batchOf(message: BatchMessage | undefined): Batch {
  const { project = "", domain = "", name = "" } = message?.id ?? {};
  const count = (name: keyof Batch["counts"]) => Number(message?.counts?.[name] ?? 0);
  return {
    project,
    domain,
    name,
    state: State[message?.state ?? State.UNSPECIFIED] as BatchState,
    reason: message?.message ?? "",
    counts: {
      total: count("total"),
      pending: count("pending"),
      queued: count("queued"),
      running: count("running"),
      succeeded: count("succeeded"),
      failed: count("failed"),
      timedOut: count("timedOut"),
      aborted: count("aborted"),
      refused: count("refused"),
    },
    resultsUri: message?.resultsUri ?? "",
  };
}
