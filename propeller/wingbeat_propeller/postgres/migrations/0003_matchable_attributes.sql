-- expand
-- Settings by project, domain and workflow, and what was made of them for each execution.

-- One row a resource type and level. An empty domain stands for the whole project, an empty workflow for the whole
-- domain; nothing is more specific than a workflow.
CREATE TABLE matchable_attributes (
    project       text NOT NULL,
    domain        text NOT NULL DEFAULT '',
    workflow      text NOT NULL DEFAULT '',
    resource_type smallint NOT NULL,                     -- flyteidl.admin.MatchableResource
    attributes    bytea NOT NULL,                        -- flyteidl.admin.MatchingAttributes
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, domain, workflow, resource_type),
    CHECK (workflow = '' OR domain <> '')
);

-- Resolved at launch, beside `config`; the releases before this one leave them NULL, which means: nothing said.
ALTER TABLE executions
    ADD COLUMN task_resources     bytea,                 -- flyteidl.admin.TaskResourceAttributes; the engine applies it
    ADD COLUMN plugin_overrides   bytea,                 -- flyteidl.admin.PluginOverrides
    ADD COLUMN quality_of_service bytea,                 -- flyteidl.core.QualityOfService; NULL leaves it to the workflow
    ADD COLUMN cluster_label      text,
    ADD COLUMN cluster_pool       text,
    ADD COLUMN queue_tags         text[];
