/** Plays the scenarios of clients/conformance with this client; their README says what each step means. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { Code } from "@connectrpc/connect";
import { Client, Duration, File, idl, WingbeatError } from "../src/index.js";
import type { ExecutionId, Given, Item, Outcome, Watch } from "../src/index.js";

const STEP_TIMEOUT_MS = 60_000;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

interface Step {
  do: string;
  items?: Record<string, Json>[];
  repeat?: number;
  as?: string | [string, number];
  of?: string | string[] | [string, number];
  statuses?: string[];
  errors?: ({ code: string; fields: string[] } | null)[];
  phases?: string[];
  contains?: string | string[];
  index?: number;
  equal?: Record<string, Json> | Record<string, Json>[];
  prefix?: string;
  timeout_ms?: number;
  after_ms?: number;
  call?: string;
  name?: string;
  code?: string;
  task?: string;
  workflow?: string;
  rows?: Record<string, Json>[] | number;
  alive_max?: number;
  state?: string;
  counts?: Record<string, number>;
  skip?: number;
  count?: number;
  signal?: string;
  value?: Json;
  cause?: string;
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

class Player {
  readonly #launched = new Map<string, Outcome[]>();
  readonly #batches = new Map<string, string>();
  #watch: Watch | undefined;
  #prefix = "";

  constructor(
    readonly client: Client,
    readonly run: string,
  ) {}

  async play(step: Step): Promise<void> {
    const signal = AbortSignal.timeout(STEP_TIMEOUT_MS);
    switch (step.do) {
      case "launch":
        return this.#launch(step, signal);
      case "same":
        return equal(this.#outcome(step.of).execution, this.#outcome(step.as).execution, "executions");
      case "wait":
        return this.#wait(step, signal);
      case "outputs":
        return this.#outputs(step, signal);
      case "watch":
        this.#prefix = this.#filled(step.prefix ?? "");
        this.#watch = await this.client.watch();
        return;
      case "watched":
        return this.#watched(step);
      case "restart":
        console.log(JSON.stringify({ restart: true }));
        await answers.next();
        return;
      case "deadline":
        return this.#ends(() => this.client.waitAll(this.#ids(step), { timeoutMs: step.timeout_ms ?? 0 }), Code.DeadlineExceeded);
      case "cancel": {
        const stop = new AbortController();
        setTimeout(() => stop.abort(), step.after_ms);
        return this.#ends(() => this.client.waitAll(this.#ids(step), { signal: stop.signal }), Code.Canceled);
      }
      case "fails":
        return this.#fails(step, signal);
      case "batch":
        return this.#batch(step, signal);
      case "batch_wait":
        return this.#batchWait(step, signal);
      case "batch_change":
        return this.#batchChange(step, signal);
      case "batch_results":
        return this.#batchResults(step, signal);
      case "signals":
        return this.#signals(step, signal);
      case "signal":
        return refused(step, this.client.setSignal(this.#id(step), step.signal ?? "", input(step.value ?? null) as Given, { signal }));
      case "terminate":
        return refused(step, this.client.terminate(this.#id(step), this.#filled(step.cause ?? ""), { signal }));
      case "relaunch":
        return this.#keep(step, await this.client.relaunch(this.#id(step), { signal }));
      case "recover":
        return this.#keep(step, await this.client.recover(this.#id(step), { signal }));
      default:
        throw new Error("an unknown step");
    }
  }

  async #launch(step: Step, signal: AbortSignal): Promise<void> {
    const outcomes = await this.client.launch(this.#items(step.items ?? [], step.repeat), { signal });
    this.#launched.set(step.as as string, outcomes);
    const statuses = step.statuses ?? [];
    outcomes.forEach((outcome, i) => equal(outcome.status, statuses[i % statuses.length], `item ${i} (${outcome.error})`));
    step.errors?.forEach((wanted, i) => {
      if (wanted === null) {
        return;
      }
      const error = outcomes[i]?.error;
      equal(error && codeName(error.code), wanted.code, `error of item ${i}`);
      for (const field of wanted.fields) {
        check(error?.violations.some((v) => v.field === field), `item ${i}: ${error} does not name ${field}`);
      }
    });
  }

  #items(fields: Record<string, Json>[], repeat = 1): Item[] {
    return Array.from({ length: repeat }, (_, n) => fields.map((item) => this.#item(item, n))).flat();
  }

  #item(fields: Record<string, Json>, n: number): Item {
    const item: Record<string, unknown> = {};
    for (const name of ["task", "workflow", "name", "key"]) {
      if (typeof fields[name] === "string") {
        item[name] = this.#filled(fields[name]).replaceAll("{n}", String(n));
      }
    }
    if (fields["labels"]) {
      item["labels"] = fields["labels"];
    }
    if (fields["inputs"]) {
      item["inputs"] = mapValues(fields["inputs"] as Record<string, Json>, input);
    }
    return item as Item;
  }

  async #wait(step: Step, signal: AbortSignal): Promise<void> {
    const ends = await this.client.waitAll(this.#ids(step), { signal });
    const phases = step.phases ?? [];
    ends.forEach((end, i) => {
      equal(end.phase, phases[i % phases.length], `phase of ${end.execution.name} (${end.failure})`);
      equal(end.failure === undefined, end.phase === "SUCCEEDED", `failure of ${end.execution.name}`);
      const contained = step.contains?.[i];
      check(!contained || end.failure?.message.includes(contained), `${contained} is not in ${end.failure?.message}`);
    });
  }

  async #outputs(step: Step, signal: AbortSignal): Promise<void> {
    const id = this.#id(step);
    const got = plain(await this.client.outputs(id, { signal })) as Record<string, unknown>;
    const wanted = mapValues(step.equal as Record<string, Json>, (value) => plain(input(value)));
    for (const name of Object.keys({ ...got, ...wanted })) {
      equal(got[name], wanted[name], name);
    }
  }

  async #watched(step: Step): Promise<void> {
    check(this.#watch, "nothing is watched");
    const open = new Set((step.of as string[]).flatMap((name) => this.#launched.get(name) ?? []).map((o) => o.execution?.name));
    const seen = new Set<string>();
    const late = setTimeout(() => this.#watch?.close(), STEP_TIMEOUT_MS);
    for await (const transition of this.#watch) {
      const name = transition.execution?.name ?? "";
      if (!name.startsWith(this.#prefix) || transition.phase.case !== "executionPhase") {
        continue;
      }
      const phase = idl.identity.ExecutionPhase[transition.phase.value];
      check(!seen.has(`${name} ${phase}`), `${name} ${phase} came twice`);
      seen.add(`${name} ${phase}`);
      if (transition.isFinal) {
        check(open.delete(name), `${name} ended twice, or is unknown`);
        check(seen.has(`${name} RUNNING`), `${name} ended and was never running`);
      }
      if (open.size === 0) {
        break;
      }
    }
    clearTimeout(late);
    equal(open.size, 0, "executions open");
  }

  async #ends(call: () => Promise<unknown>, code: Code): Promise<void> {
    try {
      await call();
    } catch (error) {
      check(error instanceof WingbeatError, `not an error of the client: ${error}`);
      return equal(Code[error.code], Code[code], "code");
    }
    throw new Error("the call did not end with an error");
  }

  async #fails(step: Step, signal: AbortSignal): Promise<void> {
    const id = this.client.execution(this.#filled(step.name ?? ""));
    try {
      await (step.call === "wait" ? this.client.wait(id, { signal }) : this.client.outputs(id, { signal }));
    } catch (error) {
      check(error instanceof WingbeatError, `not an error of the client: ${error}`);
      equal(codeName(error.code), step.code, "code");
      const contained = this.#filled(step.contains as string);
      return check(error.message.includes(contained), `${contained} is not in ${error.message}`);
    }
    throw new Error("the call did not end with an error");
  }

  async #batch(step: Step, signal: AbortSignal): Promise<void> {
    const template = { ...(step.task && { task: step.task }), ...(step.workflow && { workflow: step.workflow }) };
    const spec = { name: this.#filled(step.name ?? ""), template, aliveMax: step.alive_max ?? 0 };
    const made = Array.isArray(step.rows)
      ? await this.client.batches.upload(spec, this.#items(step.rows, step.repeat), { signal })
      : await this.client.batches.create(spec, { uri: process.env["MANIFEST"] ?? "" }, { signal });
    this.#batches.set(step.as as string, made.name);
  }

  async #batchWait(step: Step, signal: AbortSignal): Promise<void> {
    const batch = await this.client.batches.wait(this.#batches.get(step.of as string) ?? "", { signal });
    equal(batch.state, step.state, `state (${batch.reason})`);
    const counts = mapValues(step.counts ?? {}, () => 0) as Record<string, number>;
    for (const name of Object.keys(counts)) {
      counts[name] = (batch.counts as Record<string, number>)[name] ?? -1;
    }
    equal(counts, step.counts, "counts");
  }

  async #batchChange(step: Step, signal: AbortSignal): Promise<void> {
    const name = step.name ? this.#filled(step.name) : (this.#batches.get(step.of as string) ?? "");
    const { batches } = this.client;
    if (step.call === "retry") {
      return equal(await batches.retry(name, [], { signal }), step.rows, "rows launched again");
    }
    const call = step.call === "pause" ? batches.pause(name, { signal }) : undefined;
    const made = call ?? (step.call === "resume" ? batches.resume(name, { signal }) : batches.abort(name, "it is a test", { signal }));
    await refused(step, made);
    if (step.state) {
      equal((await made).state, step.state, "state");
    }
  }

  async #batchResults(step: Step, signal: AbortSignal): Promise<void> {
    const got = [];
    for await (const result of this.client.batches.results(this.#batches.get(step.of as string) ?? "", step.skip, { signal })) {
      got.push(result);
    }
    const wanted = (step.equal ?? []) as Record<string, Json>[];
    equal(got.length, step.count ?? wanted.length, "number of results");
    for (const one of wanted) {
      const found = got.find((result) => result.key === one["key"] && result.attempt === one["attempt"]);
      check(found, `there is no result of ${one["key"]}`);
      equal(found.phase, one["phase"], "phase");
      equal(found.outputs, one["outputs"] ?? null, "outputs");
      equal(found.execution === null, found.phase === "REFUSED", "absence of an execution");
      check((found.error ?? "").includes(String(one["error"])), `${one["error"]} is not in ${found.error}`);
    }
  }

  async #signals(step: Step, signal: AbortSignal): Promise<void> {
    for (;;) {
      const got: Record<string, unknown> = {};
      for await (const found of this.client.signals(this.#id(step), { signal })) {
        got[found.id] = plain(found.value ?? null);
      }
      if (isDeepStrictEqual(got, step.equal)) {
        return;
      }
      check(!signal.aborted, `gates are ${JSON.stringify(got)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #keep(step: Step, made: ExecutionId): void {
    check(!isDeepStrictEqual(made, this.#id(step)), `${made.name} is the same execution`);
    this.#launched.set(step.as as string, [{ status: "created", execution: made }]);
  }

  #id(step: Step): ExecutionId {
    const found = this.#ids(step)[step.index ?? 0];
    check(found, "nothing was launched");
    return found;
  }

  #ids(step: Step): ExecutionId[] {
    const outcomes = this.#launched.get(step.of as string) ?? [];
    return outcomes.flatMap((outcome) => (outcome.error || !outcome.execution ? [] : [outcome.execution]));
  }

  #outcome(named: Step["of"] | Step["as"]): Outcome {
    const [name, index] = named as [string, number];
    const found = this.#launched.get(name)?.[index];
    check(found, `no outcome ${index} of ${name}`);
    return found;
  }

  #filled(text: string): string {
    return text.replaceAll("{run}", this.run);
  }
}

/** Waits for a call, which fails with the code of the step if it has one. */
async function refused(step: Step, call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    check(error instanceof WingbeatError && step.code, `${error}`);
    return equal(codeName(error.code), step.code, "code");
  }
  check(!step.code, `the call did not end with ${step.code}`);
}

/** What a program would give for a value of a scenario. */
function input(value: Json): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  if (typeof value["integer"] === "string") {
    return BigInt(value["integer"]);
  }
  if (Array.isArray(value["$repeat"])) {
    const [text, times] = value["$repeat"] as [string, number];
    return text.repeat(times);
  }
  return value;
}

/** The form of values that scenarios compare. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  }
  if (typeof value === "string" && [...value].length > 1000) {
    return { length: [...value].length, sha256: createHash("sha256").update(value).digest("hex") };
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (value instanceof Date) {
    return value.toISOString().replace(".000Z", "Z");
  }
  if (value instanceof Duration) {
    return { seconds: value.milliseconds / 1000 };
  }
  if (value instanceof File) {
    return { uri: value.uri };
  }
  return Array.isArray(value) ? value.map(plain) : mapValues(value as Record<string, unknown>, plain);
}

function mapValues<T, R>(entries: Record<string, T>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(entries).map(([name, value]) => [name, change(value)]));
}

function check(holds: unknown, text: string): asserts holds {
  if (!holds) {
    throw new Error(text);
  }
}

function equal(got: unknown, wanted: unknown, what: string): void {
  check(isDeepStrictEqual(got, wanted), `${what}: ${JSON.stringify(got)} is not ${JSON.stringify(wanted)}`);
}

/** Name of a status as the protocol writes it. */
function codeName(code: Code): string {
  return (Code[code] ?? "").replace(/(?<=.)([A-Z])/g, "_$1").toUpperCase();
}

const [endpoint = "", ...paths] = process.argv.slice(2);
const started = Date.now().toString(36);
for (const [number, path] of paths.entries()) {
  const { name, steps } = JSON.parse(readFileSync(path, "utf8")) as { name: string; steps: Step[] };
  const ca = process.env["CA_CERT"];
  const client = ca ? new Client(`https://${endpoint}`, { ca: readFileSync(ca) }) : new Client(`http://${endpoint}`);
  const player = new Player(client, `ts${number}${started}`);
  let at = "";
  try {
    for (const [index, step] of steps.entries()) {
      at = `step ${index} (${step.do}): `;
      await player.play(step);
    }
    console.log(JSON.stringify({ scenario: name, ok: true }));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    console.log(JSON.stringify({ scenario: name, ok: false, error: at + text }));
  }
}
process.exit(0);
