"""Flyte v1's column names of each listed entity, mapped to our schema.

Clients write these names in filters and sort keys. Columns of v1 that hold nothing here (a remote closure's address,
soft deletion) exist as constants, so that such filters are legal and simply match nothing.
"""

import dataclasses
from collections.abc import Mapping

from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, project_pb2
from flyteidl.core import catalog_pb2, identifier_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2

from wingbeat_controlplane.listing.columns import BYTES, DURATION, INTEGER, TEXT, TIME, Column, Kind, enum_kind
from wingbeat_controlplane.listing.query import Related, Table

_EMPTY_TEXT = Column("''::text", TEXT)
_NO_INTEGER = Column("NULL::bigint", INTEGER)

_WORKFLOW_PHASE = enum_kind(core_execution_pb2.WorkflowExecution.Phase)
_NODE_PHASE = enum_kind(core_execution_pb2.NodeExecution.Phase)
_TASK_PHASE = enum_kind(core_execution_pb2.TaskExecution.Phase)
_ERROR_KIND = enum_kind(core_execution_pb2.ExecutionError.ErrorKind)
_CACHE_STATUS = enum_kind(catalog_pb2.CatalogCacheStatus)
_RESOURCE_TYPE = enum_kind(identifier_pb2.ResourceType)


def _columns(alias: str, kinds: Mapping[str, Kind]) -> dict[str, Column]:
    """Columns whose name here is the name in our schema, and those that every table has."""
    always = {"created_at": TIME, "updated_at": TIME}
    columns = {name: Column(f"{alias}.{name}", kind) for name, kind in {**kinds, **always}.items()}
    return {**columns, "deleted_at": Column("NULL::timestamptz", TIME)}


def _execution_of(alias: str) -> dict[str, Column]:
    """The names of a row's execution, which only `executions` holds."""
    parts = ("project", "domain", "name")
    source = f"FROM executions x WHERE x.id = {alias}.execution_id"
    return {f"execution_{part}": Column(f"(SELECT x.{part} {source})", TEXT) for part in parts}


_IDENTIFIER = {"id": INTEGER, "project": TEXT, "domain": TEXT, "name": TEXT, "version": TEXT, "digest": BYTES}

_TASK_COLUMNS = _columns("t", {**_IDENTIFIER, "type": TEXT, "short_description": TEXT})
_WORKFLOW_COLUMNS = {
    **_columns("w", {**_IDENTIFIER, "short_description": TEXT, "typed_interface": BYTES}),
    "remote_closure_identifier": _EMPTY_TEXT,
}
_LAUNCH_PLAN_COLUMNS = _columns(
    "lp",
    {
        **_IDENTIFIER,
        "workflow_id": INTEGER,
        "state": enum_kind(launch_plan_pb2.LaunchPlanState),
        "schedule_type": TEXT,
        "launch_condition_type": TEXT,
    },
)
_EXECUTION_COLUMNS = {
    **_columns(
        "e",
        {
            "id": INTEGER,
            "project": TEXT,
            "domain": TEXT,
            "name": TEXT,
            "launch_plan_id": INTEGER,
            "workflow_id": INTEGER,
            "task_id": INTEGER,
            "phase": _WORKFLOW_PHASE,
            "started_at": TIME,
            "duration": DURATION,
            "abort_cause": TEXT,
            "mode": enum_kind(execution_pb2.ExecutionMetadata.ExecutionMode),
            "source_execution_id": INTEGER,
            "cluster": TEXT,
            "inputs_uri": TEXT,
            "user_inputs_uri": TEXT,
            "error_kind": _ERROR_KIND,
            "error_code": TEXT,
            "state": enum_kind(execution_pb2.ExecutionState),
            "launch_entity": TEXT,
        },
    ),
    "execution_project": Column("e.project", TEXT),
    "execution_domain": Column("e.domain", TEXT),
    "execution_name": Column("e.name", TEXT),
    "execution_created_at": Column("e.created_at", TIME),
    "execution_updated_at": Column("e.updated_at", TIME),
    "parent_node_execution_id": Column("e.parent_execution_id", INTEGER),
    "user": Column("e.principal", TEXT),
}
_NODE_EXECUTION_COLUMNS = {
    **_columns(
        "ne",
        {
            "execution_id": INTEGER,
            "node_id": TEXT,
            "parent_id": TEXT,
            "phase": _NODE_PHASE,
            "input_uri": TEXT,
            "started_at": TIME,
            "duration": DURATION,
            "cache_status": _CACHE_STATUS,
        },
    ),
    **_execution_of("ne"),
    "id": Column("ne.seq", INTEGER),
    "node_execution_created_at": Column("ne.created_at", TIME),
    "node_execution_updated_at": Column("ne.updated_at", TIME),
    "parent_task_execution_id": _NO_INTEGER,
    "dynamic_workflow_remote_closure_reference": _EMPTY_TEXT,
}
_TASK_EXECUTION_COLUMNS = {
    **_columns(
        "te",
        {
            "execution_id": INTEGER,
            "node_id": TEXT,
            "phase": _TASK_PHASE,
            "phase_version": INTEGER,
            "input_uri": TEXT,
            "started_at": TIME,
            "duration": DURATION,
        },
    ),
    **_execution_of("te"),
    **{name: Column(f"te.task_{name}", TEXT) for name in ("project", "domain", "name", "version")},
    "retry_attempt": Column("te.attempt", INTEGER),
    "task_execution_created_at": Column("te.created_at", TIME),
    "task_execution_updated_at": Column("te.updated_at", TIME),
}

TASKS = Table("task", "t", _TASK_COLUMNS, ("t.id",))
WORKFLOWS = Table("workflow", "w", _WORKFLOW_COLUMNS, ("w.id",))
LAUNCH_PLANS = Table(
    "launch_plan",
    "lp",
    _LAUNCH_PLAN_COLUMNS,
    ("lp.id",),
    related={"workflow": Related("FROM workflows w WHERE w.id = lp.workflow_id", _WORKFLOW_COLUMNS)},
)
EXECUTIONS = Table(
    "execution",
    "e",
    _EXECUTION_COLUMNS,
    ("e.id",),
    related={
        "launch_plan": Related("FROM launch_plans lp WHERE lp.id = e.launch_plan_id", _LAUNCH_PLAN_COLUMNS),
        "workflow": Related("FROM workflows w WHERE w.id = e.workflow_id", _WORKFLOW_COLUMNS),
        "task": Related("FROM tasks t WHERE t.id = e.task_id", _TASK_COLUMNS),
        "admin_tag": Related("FROM execution_tags g WHERE g.execution_id = e.id", {"name": Column("g.key", TEXT)}),
        "execution_tag": Related(
            "FROM execution_tags g WHERE g.execution_id = e.id",
            {"key": Column("g.key", TEXT), "value": Column("g.value", TEXT)},
        ),
    },
)
NODE_EXECUTIONS = Table(
    "node_execution",
    "ne",
    _NODE_EXECUTION_COLUMNS,
    ("ne.seq", "ne.node_id"),
    related={"execution": Related("FROM executions e WHERE e.id = ne.execution_id", _EXECUTION_COLUMNS)},
)
TASK_EXECUTIONS = Table(
    "task_execution",
    "te",
    _TASK_EXECUTION_COLUMNS,
    ("te.execution_id", "te.node_id", "te.attempt"),
    related={
        "task": Related(
            "FROM tasks t WHERE (t.project, t.domain, t.name, t.version)"
            " = (te.task_project, te.task_domain, te.task_name, te.task_version)",
            _TASK_COLUMNS,
        ),
        "execution": Related("FROM executions e WHERE e.id = te.execution_id", _EXECUTION_COLUMNS),
        "node_execution": Related(
            "FROM node_executions ne WHERE ne.execution_id = te.execution_id AND ne.node_id = te.node_id",
            _NODE_EXECUTION_COLUMNS,
        ),
    },
)
ELEMENT_ATTEMPTS = dataclasses.replace(
    TASK_EXECUTIONS,
    columns={
        **TASK_EXECUTIONS.columns,
        "array_id": Column("te.array_id", TEXT),
        "element": Column("te.element", INTEGER),
    },
    tie_breaker=("te.execution_id", "te.array_id", "te.element", "te.attempt"),
)
"""Attempts of elements of arrays, listed as if each element were a node."""
NAMED_ENTITIES = Table(
    "entities",
    "n",
    _columns(
        "n",
        {
            "id": INTEGER,
            "resource_type": _RESOURCE_TYPE,
            "project": TEXT,
            "domain": TEXT,
            "name": TEXT,
            "description": TEXT,
            "state": enum_kind(common_pb2.NamedEntityState),
        },
    ),
    ("n.id",),
    # flytectl's help says `workflow.name=...` for a list of the names of workflows
    synonyms=frozenset({"named_entity_metadata", "task", "workflow", "launch_plan"}),
    sort_keys=frozenset({"resource_type", "project", "domain", "name", "description", "state"}),
)
DESCRIPTION_ENTITIES = Table(
    "description_entity",
    "d",
    _columns(
        "d",
        {
            "id": INTEGER,
            "resource_type": _RESOURCE_TYPE,
            "project": TEXT,
            "domain": TEXT,
            "name": TEXT,
            "version": TEXT,
            "short_description": TEXT,
        },
    ),
    ("d.id",),
)
PROJECTS = Table(
    "project",
    "p",
    _columns(
        "p",
        {
            "id": INTEGER,
            "identifier": TEXT,
            "name": TEXT,
            "description": TEXT,
            "labels": BYTES,
            "state": enum_kind(project_pb2.Project.ProjectState),
        },
    ),
    ("p.id",),
)
SIGNALS = Table(
    "signal",
    "s",
    _columns(
        "s",
        {
            "id": INTEGER,
            "execution_project": TEXT,
            "execution_domain": TEXT,
            "execution_name": TEXT,
            "signal_id": TEXT,
            "type": BYTES,
            "value": BYTES,
        },
    ),
    ("s.id",),
)
