"""Server-sent events when what they are made of breaks."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from wingbeat_controlplane.executions.log_snapshots import Snapshot
from wingbeat_controlplane.executions.watch.cursors import Cursor
from wingbeat_controlplane.executions.watch.portions import Portion
from wingbeat_controlplane.gateway.event_stream import event_routes
from wingbeatidl.watch.v1 import watch_pb2


@pytest.mark.parametrize("portions", [0, 1])
def test_a_database_that_does_not_answer(portions: int) -> None:
    """Before the first event it is the status of the answer, later an event: never an end without a word."""

    async def watch(_: watch_pb2.WatchTransitionsRequest) -> AsyncGenerator[Portion, None]:
        for _ in range(portions):
            yield Portion(Cursor(1, Snapshot(7)), datetime.now(UTC))
        raise TimeoutError

    with TestClient(Starlette(routes=event_routes(watch))) as client:
        answer = client.get("/api/v1/watch")
    if portions:
        assert answer.status_code == 200
        assert "\n\nevent: error\ndata: {" in answer.text
    else:
        assert answer.status_code == 503
    assert "the database does not answer" in answer.text
