import { createClient, type Client as ServiceClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Batches } from "./batch.js";
import { recover, relaunch, terminate, type RecoverOptions } from "./change.js";
import type { Given } from "./encode.js";
import { AdminService } from "./gen/flyteidl/service/admin_pb.js";
import { SignalService } from "./gen/flyteidl/service/signal_pb.js";
import { BatchService } from "./gen/wingbeatidl/batch/v1/batch_pb.js";
import { LaunchService } from "./gen/wingbeatidl/launch/v1/launch_pb.js";
import { RecoveryService } from "./gen/wingbeatidl/recovery/v1/recovery_pb.js";
import { WatchService } from "./gen/wingbeatidl/watch/v1/watch_pb.js";
import { WingbeatError } from "./errors.js";
import { launch, type Item, type Outcome } from "./launch.js";
import { setSignal, signals, type Signal } from "./signal.js";
import { readValues, type Values } from "./values.js";
import { waitAll, type ExecutionEnd } from "./wait.js";
import { Watch, type WatchOptions } from "./watch.js";

/** What names an execution. */
export interface ExecutionId {
  project: string;
  domain: string;
  name: string;
}

/** How to connect. */
export interface ClientOptions {
  /** Of items that name none; flytesnacks unless set. */
  project?: string;
  /** Of items that name none; development unless set. */
  domain?: string;
  /** Authorities by which an https server is checked, as PEM; those of Node unless set. */
  ca?: string | Uint8Array;
  /** Another transport than gRPC over HTTP/2, for tests or with interceptors. */
  transport?: Transport;
}

/** Options of every call. */
export interface CallOptions {
  /** Ends the call when it is aborted. */
  signal?: AbortSignal;
  /** Ends the call after so long. */
  timeoutMs?: number;
}

/** The services that the client calls. */
export interface Services {
  launch: ServiceClient<typeof LaunchService>;
  batch: ServiceClient<typeof BatchService>;
  watch: ServiceClient<typeof WatchService>;
  recovery: ServiceClient<typeof RecoveryService>;
  admin: ServiceClient<typeof AdminService>;
  signal: ServiceClient<typeof SignalService>;
}

/** A connection to an installation. Make one and keep it. */
export class Client {
  readonly project: string;
  readonly domain: string;
  readonly transport: Transport;
  /** Batches: many rows, one execution each, launched by the server. */
  readonly batches: Batches;
  readonly #services: Services;

  /** `endpoint` is a URL: `http://127.0.0.1:8089`, or with https. */
  constructor(endpoint: string, options: ClientOptions = {}) {
    this.project = options.project ?? "flytesnacks";
    this.domain = options.domain ?? "development";
    this.transport =
      options.transport ??
      createGrpcTransport({
        baseUrl: endpoint,
        readMaxBytes: 64 << 20,
        ...(options.ca && { nodeOptions: { ca: Buffer.from(options.ca) } }),
      });
    this.#services = {
      launch: createClient(LaunchService, this.transport),
      batch: createClient(BatchService, this.transport),
      watch: createClient(WatchService, this.transport),
      recovery: createClient(RecoveryService, this.transport),
      admin: createClient(AdminService, this.transport),
      signal: createClient(SignalService, this.transport),
    };
    this.batches = new Batches(this.#services, { project: this.project, domain: this.domain });
  }

  /** An execution in the client's project and domain. */
  execution(name: string): ExecutionId {
    return { project: this.project, domain: this.domain, name };
  }

  /**
   * Launches items, in calls of at most 10,000, and returns an outcome for each, in their order. An item that is refused
   * leaves the others alone: look at `outcome.error`. While the engines are behind it waits as the server says and sends the
   * call again; after a call that broke off only if every item has a key, since others might be launched twice.
   */
  launch(items: readonly Item[], options: CallOptions = {}): Promise<Outcome[]> {
    return launch(this.#services, { project: this.project, domain: this.domain }, items, options);
  }

  /** Watches transitions, from before this call on: `for await (const transition of await client.watch())`. */
  watch(options: WatchOptions = {}): Promise<Watch> {
    return Watch.start(this.#services, options);
  }

  /** Waits until an execution has ended; throws ExecutionFailedError unless it succeeded. */
  async wait(id: ExecutionId, options: CallOptions = {}): Promise<ExecutionEnd> {
    const [end] = await this.waitAll([id], options);
    if (end === undefined) {
      throw new Error("no end for one execution");
    }
    if (end.failure !== undefined) {
      throw end.failure;
    }
    return end;
  }

  /** Waits until all executions have ended, whatever their ends, and over restarts of the server. */
  waitAll(ids: readonly ExecutionId[], options: CallOptions = {}): Promise<ExecutionEnd[]> {
    return waitAll(this.#services, ids, options);
  }

  /** Aborts an execution; `cause` is for people. FAILED_PRECONDITION: it has ended. */
  terminate(id: ExecutionId, cause = "", options: CallOptions = {}): Promise<void> {
    return terminate(this.#services, id, cause, options);
  }

  /** Runs an execution once more, as a new one. */
  relaunch(id: ExecutionId, options: CallOptions = {}): Promise<ExecutionId> {
    return relaunch(this.#services, id, options);
  }

  /** Makes a new execution that takes over what succeeded in this one. */
  recover(id: ExecutionId, options: RecoverOptions = {}): Promise<ExecutionId> {
    return recover(this.#services, id, options);
  }

  /** What gates of an execution wait for or have got. */
  signals(id: ExecutionId, options: CallOptions = {}): AsyncGenerator<Signal, void, void> {
    return signals(this.#services, id, options);
  }

  /** Gives a gate its value: what it asks for, or true (false) for an approval. NOT_FOUND: no gate of that name waits. */
  setSignal(id: ExecutionId, signal: string, value: Given, options: CallOptions = {}): Promise<void> {
    return setSignal(this.#services, id, signal, value, options);
  }

  /** What an execution that succeeded has made. */
  async outputs(id: ExecutionId, options: CallOptions = {}): Promise<Values> {
    const data = await this.#data(id, options);
    return readValues(data.fullOutputs, data.outputs?.url, options);
  }

  /** What an execution was given. */
  async inputs(id: ExecutionId, options: CallOptions = {}): Promise<Values> {
    const data = await this.#data(id, options);
    return readValues(data.fullInputs, data.inputs?.url, options);
  }

  async #data(id: ExecutionId, options: CallOptions) {
    try {
      return await this.#services.admin.getExecutionData({ id }, options);
    } catch (thrown) {
      throw WingbeatError.from(thrown, options.signal);
    }
  }
}
