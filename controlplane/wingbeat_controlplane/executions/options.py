"""What an installation says about executions."""

from dataclasses import dataclass, field

from flyteidl.admin import matchable_resource_pb2


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """Defaults and bounds; sizes in bytes, times in seconds."""

    defaults: matchable_resource_pb2.WorkflowExecutionConfig = field(
        default_factory=lambda: matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=25)
    )
    """Settings of executions that nobody said anything else for. Interruptible counts only if true; a parallelism of 0
    means no limit."""
    task_resources: matchable_resource_pb2.TaskResourceAttributes = field(
        default_factory=matchable_resource_pb2.TaskResourceAttributes
    )
    """Defaults and limits of containers where no matchable attributes say otherwise."""
    dedupe_window_s: float = 3.0
    """Identical unnamed creations of one connection within this time make one execution; 0 turns it off."""
    queue_max: int = 1000
    """Executions of one launch plan that may wait for their turn; more are refused."""
    data_inline_bytes_max: int = 18 << 20
    """Most data in one answer; what does not fit is handed out as a link. Clients take messages of 20 MiB."""
    single_bytes_max: int = 128 << 20
    """Most data in an answer that can hold no link; clients that want so much raise their own limit."""
    link_life_s: float = 3600.0
    """How long a link to data is good."""
