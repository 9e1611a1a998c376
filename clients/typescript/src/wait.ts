import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { CallOptions, ExecutionId, Services } from "./client.js";
import { backoffMs, ExecutionFailedError, pause, WingbeatError } from "./errors.js";
import { ExecutionPhase } from "./gen/wingbeatidl/query/v1/identity_pb.js";
import type { ExecutionEnd as EndMessage } from "./gen/wingbeatidl/watch/v1/watch_pb.js";

/** How many executions the server waits for in one call. */
const WAIT_MAX = 10_000;

/** How an execution ended. */
export interface ExecutionEnd {
  execution: ExecutionId;
  /** SUCCEEDED, FAILED, ABORTED or TIMED_OUT. */
  phase: string;
  endedAt: Date | undefined;
  /** Unless it succeeded. */
  failure: ExecutionFailedError | undefined;
}

/** See `Client.waitAll`. */
export async function waitAll(
  services: Services,
  ids: readonly ExecutionId[],
  options: CallOptions,
): Promise<ExecutionEnd[]> {
  const until = options.timeoutMs === undefined ? undefined : Date.now() + options.timeoutMs;
  const ends = new Map<string, ExecutionEnd>();
  for (let attempt = 0; ; attempt++) {
    const open = ids.filter((id) => !ends.has(keyOf(id))).slice(0, WAIT_MAX);
    if (open.length === 0) {
      return ids.flatMap((id) => ends.get(keyOf(id)) ?? []);
    }
    const before = ends.size;
    try {
      const left = until === undefined ? {} : { timeoutMs: Math.max(1, until - Date.now()) };
      for await (const answer of services.watch.waitExecutions({ executions: open }, { ...options, ...left })) {
        for (const message of answer.ends) {
          const end = endOf(message);
          ends.set(keyOf(end.execution), end);
        }
      }
    } catch (thrown) {
      const error = WingbeatError.from(thrown, options.signal);
      if (!(error instanceof WingbeatError) || error.code !== Code.Unavailable) {
        throw error;
      }
      attempt = ends.size > before ? 0 : attempt;
      await pause(backoffMs(attempt), options.signal);
    }
  }
}

function keyOf({ project, domain, name }: ExecutionId): string {
  return `${project}:${domain}:${name}`;
}

function endOf(message: EndMessage): ExecutionEnd {
  const { project = "", domain = "", name = "" } = message.execution ?? {};
  const execution = { project, domain, name };
  const phase = ExecutionPhase[message.phase];
  const failure =
    message.phase === ExecutionPhase.SUCCEEDED
      ? undefined
      : new ExecutionFailedError(keyOf(execution), phase, message.error?.code ?? "", message.error?.message ?? "");
  return { execution, phase, endedAt: message.endedAt && timestampDate(message.endedAt), failure };
}
