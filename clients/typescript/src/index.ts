/**
 * Launches executions on a Wingbeat installation, watches them and reads what they made.
 *
 * Messages of the services are in `idl`; what has no method on `Client` is reached with `client.transport`.
 */
export { Client, type ClientOptions, type ExecutionId } from "./client.js";
export { ExecutionFailedError, WingbeatError, type Violation } from "./errors.js";
export { type Item, type Outcome, type OutcomeStatus } from "./launch.js";
export { type ExecutionEnd } from "./wait.js";
export { Watch, type WatchOptions } from "./watch.js";
export { decode, File, type Value, type Values } from "./values.js";
export * as idl from "./idl.js";
