"""OpenLineage events of executions, from the log of transitions: `events` makes them, `exporter` delivers them."""
