import { Code } from "@connectrpc/connect";
import type { CallOptions, ExecutionId, Services } from "./client.js";
import { retrying, WingbeatError } from "./errors.js";
import { newName } from "./names.js";

/** What a recovery runs again. */
export interface RecoverOptions extends CallOptions {
  /** Of the new execution; one is made unless set. */
  name?: string;
  /** Of the launch plan or task; the one that the execution ran unless set. */
  version?: string;
  /** Names of tasks (`*` stands for any characters) and ids of nodes that run in any case. */
  rerun?: string[];
  /** Names of tasks and ids of nodes whose code counts as unchanged. */
  assumeUnchanged?: string[];
}

/** See `Client.terminate`. */
export async function terminate(
  { admin }: Services,
  id: ExecutionId,
  cause: string,
  options: CallOptions,
): Promise<void> {
  await retrying(() => admin.terminateExecution({ id, cause }, options), { repeatable: true, signal: options.signal });
}

/** See `Client.relaunch`. */
export async function relaunch(services: Services, id: ExecutionId, options: CallOptions): Promise<ExecutionId> {
  const made = { ...id, name: newName() };
  return once(services, made, options, () => services.admin.relaunchExecution({ id, name: made.name }, options));
}

/** See `Client.recover`. */
export async function recover(services: Services, id: ExecutionId, options: RecoverOptions): Promise<ExecutionId> {
  const { name, version = "", rerun = [], assumeUnchanged = [], ...call } = options;
  const made = { project: id.project, domain: id.domain, name: name ?? newName() };
  const request = { execution: id, name: made.name, version, rerun, assumeUnchanged };
  const recovering = () => services.recovery.recoverExecution(request, call);
  if (name !== undefined) {
    await retrying(recovering, { repeatable: true, signal: call.signal });
    return made;
  }
  return once(services, made, call, recovering);
}

/** Makes an execution whose name was made here, so that what a try whose answer was lost has made is found. */
async function once(
  services: Services,
  made: ExecutionId,
  options: CallOptions,
  call: () => Promise<unknown>,
): Promise<ExecutionId> {
  const patience = { repeatable: true, signal: options.signal };
  try {
    await retrying(call, patience);
  } catch (error) {
    if (!(error instanceof WingbeatError) || error.code !== Code.AlreadyExists) {
      throw error;
    }
    const found = await services.admin.getExecution({ id: made }, options).catch(() => undefined);
    if (found === undefined) {
      throw error;
    }
  }
  return made;
}
