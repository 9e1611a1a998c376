/**
 * Launches executions on a Wingbeat installation, watches them and reads what they made.
 *
 * Messages of the services are in `idl`; what has no method on `Client` is reached with `client.transport`.
 */
export { type Batch, type Batches, type BatchResult, type BatchSpec, type BatchState, type Manifest } from "./batch.js";
export { type RecoverOptions } from "./change.js";
export { Client, type CallOptions, type ClientOptions, type ExecutionId } from "./client.js";
export { encode, type Given } from "./encode.js";
export { ExecutionFailedError, WingbeatError, type Violation } from "./errors.js";
export { type Item, type Outcome, type OutcomeStatus } from "./launch.js";
export { type Signal } from "./signal.js";
export { type ExecutionEnd } from "./wait.js";
export { Watch, type WatchOptions } from "./watch.js";
export { decode, Duration, File, type Value, type Values } from "./values.js";
export * as idl from "./idl.js";
