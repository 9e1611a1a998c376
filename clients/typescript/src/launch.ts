import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Code } from "@connectrpc/connect";
import type { CallOptions, ExecutionId, Services } from "./client.js";
import { retrying, WingbeatError } from "./errors.js";
import {
  TargetKind,
  VersionSelection,
  type LaunchItemSchema,
  type OverridesSchema,
  type TargetSchema,
} from "./gen/wingbeatidl/launch/v1/item_pb.js";
import { LaunchStatus, type LaunchOutcome } from "./gen/wingbeatidl/launch/v1/outcome_pb.js";

/** How many items the server takes in one call. */
const ITEMS_MAX = 10_000;

/** One execution to be. One of `launchPlan`, `workflow` and `task` names what runs. */
export interface Item {
  /** The client's unless set. */
  project?: string;
  domain?: string;
  launchPlan?: string;
  /** Its default launch plan is launched. */
  workflow?: string;
  task?: string;
  /** The newest unless set, or the active one with `active`. */
  version?: string;
  active?: boolean;
  /** Converted by the server after the types of the interface, from what JSON makes of them; bigints are integers. */
  inputs?: Record<string, unknown>;
  /** Made by the server unless set. */
  name?: string;
  /** Makes the item safe to send again: it is launched once. */
  key?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  priority?: number;
  overrides?: MessageInitShape<typeof OverridesSchema>;
}

/**
 * What became of an item: `existing`, an item with the same key and content was launched before; `conflict`, the key was
 * used for another item or the name belongs to another execution; `refused`, it cannot be launched.
 */
export type OutcomeStatus = "created" | "existing" | "conflict" | "refused";

/** What became of one item. */
export interface Outcome {
  status: OutcomeStatus;
  /** Created, found, or in the way. */
  execution?: ExecutionId;
  /** Of conflicts and refused items. */
  error?: WingbeatError;
}

const STATUSES: Record<LaunchStatus, OutcomeStatus> = {
  [LaunchStatus.UNSPECIFIED]: "refused",
  [LaunchStatus.CREATED]: "created",
  [LaunchStatus.EXISTING]: "existing",
  [LaunchStatus.CONFLICT]: "conflict",
  [LaunchStatus.REFUSED]: "refused",
};

/** See `Client.launch`. */
export async function launch(
  services: Services,
  scope: { project: string; domain: string },
  items: readonly Item[],
  options: CallOptions,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let first = 0; first < items.length; first += ITEMS_MAX) {
    const some = items.slice(first, first + ITEMS_MAX);
    const request = { ...scope, items: some.map(message) };
    const answer = await retrying(() => services.launch.launch(request, options), {
      repeatable: some.every((item) => item.key),
      signal: options.signal,
    });
    outcomes.push(...answer.outcomes.map(outcome));
  }
  return outcomes;
}

function message(item: Item): MessageInitShape<typeof LaunchItemSchema> {
  return { ...content(item), target: target(item) };
}

/** What an item runs. */
export function target(item: Item): MessageInitShape<typeof TargetSchema> {
  const named: [TargetKind, string | undefined][] = [
    [TargetKind.LAUNCH_PLAN, item.launchPlan],
    [TargetKind.WORKFLOW, item.workflow],
    [TargetKind.TASK, item.task],
  ];
  const [kind, name] = named.find(([, name]) => name) ?? [];
  if (kind === undefined || name === undefined) {
    throw new TypeError("an item names no launch plan, workflow or task");
  }
  const selection = item.active ? VersionSelection.ACTIVE : VersionSelection.NEWEST;
  return { kind, name, version: item.version ?? "", selection };
}

/** An item without what it runs, which rows of batches do not say. */
export function content(item: Item) {
  return {
    project: item.project ?? "",
    domain: item.domain ?? "",
    ...(item.inputs && { inputs: { form: { case: "json" as const, value: toJson(item.inputs) } } }),
    name: item.name ?? "",
    idempotencyKey: item.key ?? "",
    labels: item.labels ?? {},
    annotations: item.annotations ?? {},
    ...(item.priority !== undefined && { priority: item.priority }),
    ...(item.overrides && { overrides: item.overrides }),
  };
}

/** JSON whose bigints are numbers, which JSON.stringify refuses. */
function toJson(value: unknown): string {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (Array.isArray(value)) {
    return `[${value.map((item) => toJson(item ?? null)).join(",")}]`;
  }
  if (typeof value === "object" && value !== null && !("toJSON" in value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${toJson(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

function outcome(message: LaunchOutcome): Outcome {
  const status = STATUSES[message.status];
  const made: Outcome = { status };
  if (message.execution) {
    const { project, domain, name } = message.execution;
    made.execution = { project, domain, name };
  }
  if (status === "conflict" || status === "refused") {
    made.error = new WingbeatError(message.message, message.code as Code, message.violations);
  }
  return made;
}
