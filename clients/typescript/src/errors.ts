import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** What is wrong with one field of a request. */
export interface Violation {
  field: string;
  description: string;
}

/** An answer of the server that is not a success, or a call that did not reach it. */
export class WingbeatError extends Error {
  override name = "WingbeatError";

  constructor(
    message: string,
    readonly code: Code,
    readonly violations: readonly Violation[] = [],
    /** How long the server asks to wait before the call is sent again. */
    readonly retryAfterMs?: number,
    /** Of google.rpc.ErrorInfo, where the server sent one. */
    readonly reason?: string,
    readonly metadata: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super([message, ...violations.map((v) => `${v.field}: ${v.description}`)].join("; "), options);
  }

  /**
   * Whatever a call threw. Errors that are not the server's or the connection's stay as they are. A call that was cancelled
   * by nobody here, as `signal` tells, has lost its connection.
   */
  static from(thrown: unknown, signal?: AbortSignal): unknown {
    if (thrown instanceof WingbeatError || !(thrown instanceof ConnectError)) {
      return thrown;
    }
    const [bad] = thrown.findDetails(BadRequestSchema);
    const [retry] = thrown.findDetails(RetryInfoSchema);
    const [info] = thrown.findDetails(ErrorInfoSchema);
    const delay = retry?.retryDelay;
    return new WingbeatError(
      thrown.rawMessage,
      thrown.code === Code.Canceled && !signal?.aborted ? Code.Unavailable : thrown.code,
      bad?.fieldViolations.map(({ field, description }) => ({ field, description })) ?? [],
      delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
      info?.reason,
      info?.metadata,
      { cause: thrown },
    );
  }
}

/** An execution that was waited for has not succeeded. */
export class ExecutionFailedError extends Error {
  override name = "ExecutionFailedError";

  constructor(
    readonly execution: string,
    /** FAILED, ABORTED or TIMED_OUT. */
    readonly phase: string,
    readonly errorCode: string,
    readonly errorMessage: string,
  ) {
    super(`${execution} is ${phase}: ${errorCode} ${errorMessage}`.trim());
  }
}

/** Calls again while the server asks for patience and, if the call may be repeated, while it cannot be reached. */
export async function retrying<T>(
  call: () => Promise<T>,
  { repeatable, signal }: { repeatable: boolean; signal?: AbortSignal | undefined },
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (thrown) {
      await patience(thrown, attempt, repeatable, signal);
    }
  }
}

/** Waits for the time to try again after a failure; throws it where that makes no sense. */
export async function patience(
  thrown: unknown,
  attempt: number,
  repeatable: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const error = WingbeatError.from(thrown, signal);
  if (!(error instanceof WingbeatError)) {
    throw error;
  }
  const asked = error.code === Code.ResourceExhausted && error.retryAfterMs !== undefined;
  if (!asked && !(repeatable && error.code === Code.Unavailable)) {
    throw error;
  }
  await pause(error.retryAfterMs ?? backoffMs(attempt), signal);
}

/** How long to wait after a number of failures: from 50 ms doubled up to 5 s, a random part of it. */
export function backoffMs(attempt: number): number {
  const most = Math.min(50 * 2 ** Math.min(attempt, 10), 5000);
  return most / 2 + (Math.random() * most) / 2;
}

/** Waits; throws a WingbeatError when the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(WingbeatError.from(new ConnectError("the call was cancelled", Code.Canceled), signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    if (signal?.aborted) {
      abort();
    } else {
      signal?.addEventListener("abort", abort, { once: true });
    }
  });
}
