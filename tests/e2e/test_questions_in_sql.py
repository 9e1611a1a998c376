"""`wingbeat sql` against a running installation."""

import csv
import json

from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation


def test_what_has_run(installation: Installation, client: Client) -> None:
    """An execution is found by the value of its input, with its attempts, in all three forms; writing is refused."""
    execution = succeeded(client.run("hello_world", "hello_world_wf", {"name": "Ada of SQL"}))
    folder = ("--data-dir", str(installation.data_dir))
    question = (
        "SELECT e.name, e.phase, a.phase AS attempt FROM executions AS e JOIN attempts AS a USING (execution_id)"
        """ WHERE e.inputs @> '{"name": "Ada of SQL"}'"""
    )

    def told(*more: str) -> str:
        return installation.wingbeat("sql", question, *folder, *more).stdout

    row = {"name": execution.id.name, "phase": "SUCCEEDED", "attempt": "SUCCEEDED"}
    assert json.loads(told("-o", "json")) == row
    assert list(csv.DictReader(told("-o", "csv").splitlines())) == [row]
    assert execution.id.name in told()
    assert told("-o", "json", "--project", "flytesnacks") == told("-o", "json")
    assert told("-o", "json", "--project", "other") == ""
    refused = installation.wingbeat("sql", "DELETE FROM executions", *folder, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "syntax error" in refused.stderr
    assert "Traceback" not in refused.stderr
