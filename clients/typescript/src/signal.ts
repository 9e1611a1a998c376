import { Code } from "@connectrpc/connect";
import type { CallOptions, ExecutionId, Services } from "./client.js";
import { encode, type Given } from "./encode.js";
import { retrying, WingbeatError } from "./errors.js";
import type { LiteralType } from "./gen/flyteidl/core/types_pb.js";
import { decode, type Value } from "./values.js";

/** How many signals come in one answer. */
const PAGE = 100;

/** A value that a gate of an execution waits for, or has got. */
export interface Signal {
  execution: ExecutionId;
  id: string;
  /** Of the value; a boolean for an approval. */
  type: LiteralType | undefined;
  /** Undefined while it is waited for. */
  value: Value | undefined;
}

/** See `Client.signals`. */
export async function* signals(
  services: Services,
  id: ExecutionId,
  options: CallOptions,
): AsyncGenerator<Signal, void, void> {
  let token = "";
  do {
    const request = { workflowExecutionId: id, limit: PAGE, token };
    const page = await retrying(() => services.signal.listSignals(request, options), {
      repeatable: true,
      signal: options.signal,
    });
    for (const { id: named, type, value } of page.signals) {
      const isSet = value?.value.case !== undefined;
      yield { execution: id, id: named?.signalId ?? "", type, value: isSet ? decode(value) : undefined };
    }
    token = page.token;
  } while (token);
}

/** See `Client.setSignal`. */
export async function setSignal(
  services: Services,
  id: ExecutionId,
  signalId: string,
  value: Given,
  options: CallOptions,
): Promise<void> {
  for await (const found of signals(services, id, options)) {
    if (found.id === signalId) {
      const request = { id: { signalId, executionId: id }, value: encode(value, found.type) };
      await retrying(() => services.signal.setSignal(request, options), { repeatable: true, signal: options.signal });
      return;
    }
  }
  throw new WingbeatError(`no gate of ${id.project}:${id.domain}:${id.name} waits for ${signalId}`, Code.NotFound);
}
