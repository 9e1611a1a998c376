/** Messages and services of launch.v1, watch.v1, batch.v1, recovery.v1 and query.v1. */
export * as batch from "./gen/wingbeatidl/batch/v1/batch_pb.js";
export * as batchRow from "./gen/wingbeatidl/batch/v1/row_pb.js";
export * as launch from "./gen/wingbeatidl/launch/v1/launch_pb.js";
export * as launchItem from "./gen/wingbeatidl/launch/v1/item_pb.js";
export * as launchOutcome from "./gen/wingbeatidl/launch/v1/outcome_pb.js";
export * as identity from "./gen/wingbeatidl/query/v1/identity_pb.js";
export * as query from "./gen/wingbeatidl/query/v1/query_pb.js";
export * as recovery from "./gen/wingbeatidl/recovery/v1/recovery_pb.js";
export * as watch from "./gen/wingbeatidl/watch/v1/watch_pb.js";
export * as transition from "./gen/wingbeatidl/watch/v1/transition_pb.js";
