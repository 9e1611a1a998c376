import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { Services } from "./client.js";
import { backoffMs, pause, WingbeatError } from "./errors.js";
import type { Level, Transition } from "./gen/wingbeatidl/watch/v1/transition_pb.js";
import { Start, type TransitionFilterSchema, type WatchTransitionsResponse } from "./gen/wingbeatidl/watch/v1/watch_pb.js";

/** How often a quiet watch hears of its server. */
const HEARTBEAT_S = 15n;

/** What a watch tells of. */
export interface WatchOptions {
  filter?: MessageInitShape<typeof TransitionFilterSchema>;
  /** Executions unless set. */
  levels?: Level[];
  /** To go on after. Without it: from now on, or from the oldest transition kept with `fromOldest`. */
  cursor?: string;
  fromOldest?: boolean;
  withOutputs?: boolean;
  /** Ends the watch. */
  signal?: AbortSignal;
}

/**
 * Transitions in commit order, each once, also over restarts of the server. It ends when its signal is aborted, when it is
 * left (`break`), or with a WingbeatError for a cursor that is too old and other refusals.
 */
export class Watch implements AsyncIterable<Transition> {
  /** Where another watch goes on after the transitions that were read, at the end of each message of the server. */
  cursor = "";
  #stream: AsyncIterator<WatchTransitionsResponse> | undefined;
  #first: WatchTransitionsResponse | undefined;
  #attempts = 0;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;

  private constructor(
    private readonly services: Services,
    private readonly options: WatchOptions,
  ) {
    this.cursor = options.cursor ?? "";
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#stop.signal]) : this.#stop.signal;
  }

  /** Begins to watch; resolves when the server has said from where. */
  static async start(services: Services, options: WatchOptions): Promise<Watch> {
    const watch = new Watch(services, options);
    watch.#first = await watch.#receive();
    return watch;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Transition, void, void> {
    try {
      for (;;) {
        const message = this.#first ?? (await this.#receive());
        this.#first = undefined;
        yield* message.transitions;
        this.cursor = message.cursor;
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) {
        throw error;
      }
    } finally {
      this.close();
    }
  }

  /** Ends the watch. */
  close(): void {
    this.#stop.abort();
  }

  #lastCursor = "";

  async #receive(): Promise<WatchTransitionsResponse> {
    for (;;) {
      try {
        this.#stream ??= this.services.watch
          .watchTransitions(
            {
              ...(this.options.filter && { filter: this.options.filter }),
              levels: this.options.levels ?? [],
              cursor: this.#lastCursor || this.cursor,
              start: this.options.fromOldest ? Start.OLDEST : Start.NOW,
              withOutputs: this.options.withOutputs ?? false,
              heartbeat: { seconds: HEARTBEAT_S },
            },
            { signal: this.#signal },
          )
          [Symbol.asyncIterator]();
        const { value, done } = await this.#stream.next();
        if (!done) {
          this.#attempts = 0;
          this.#lastCursor = value.cursor;
          return value;
        }
        this.#stream = undefined;
      } catch (thrown) {
        this.#stream = undefined;
        const error = WingbeatError.from(thrown, this.#signal);
        if (!(error instanceof WingbeatError)) {
          throw error;
        }
        const asked = error.code === Code.ResourceExhausted && error.retryAfterMs !== undefined;
        if (!asked && error.code !== Code.Unavailable) {
          throw error;
        }
        await pause(error.retryAfterMs ?? backoffMs(this.#attempts++), this.#signal);
        continue;
      }
      await pause(backoffMs(this.#attempts++), this.#signal);
    }
  }
}
