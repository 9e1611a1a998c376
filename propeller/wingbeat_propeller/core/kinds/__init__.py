"""The kinds of nodes, one module each; `KINDS` has one entry for each NodeKind, at its number."""

from wingbeat_propeller.core.kinds.array import ArrayKind
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.kinds.branch import BranchKind
from wingbeat_propeller.core.kinds.end import EndKind
from wingbeat_propeller.core.kinds.gate import GateNodeKind
from wingbeat_propeller.core.kinds.launch_plan import LaunchPlanKind
from wingbeat_propeller.core.kinds.task import TaskKind
from wingbeat_propeller.core.kinds.workflow import WorkflowKind
from wingbeat_propeller.core.plan import NodeKind

_BY_KIND: dict[NodeKind, Kind] = {
    NodeKind.START: EndKind(),
    NodeKind.END: EndKind(),
    NodeKind.TASK: TaskKind(),
    NodeKind.WORKFLOW: WorkflowKind(),
    NodeKind.BRANCH: BranchKind(),
    NodeKind.LAUNCH_PLAN: LaunchPlanKind(),
    NodeKind.GATE: GateNodeKind(),
    NodeKind.ARRAY: ArrayKind(),
}

KINDS: tuple[Kind, ...] = tuple(_BY_KIND[kind] for kind in NodeKind)
