"""A receiver of OpenLineage events over HTTP, which may be away or refuse."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What arrived, in order; `answers` has the status of the next requests, 201 once it is empty."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.keys: set[str | None] = set()
        self.arrived = threading.Condition()
        self.url = ""

    def take(self, body: bytes, key: str | None) -> int:
        """One request."""
        with self.arrived:
            status = self.answers.pop(0) if self.answers else 201
            if status == 201:
                self.events.append(json.loads(body))
                self.keys.add(key)
            self.arrived.notify_all()
            return status

    def states(self, job: str = "") -> list[str]:
        """Types of the events, of jobs whose name contains `job`."""
        return [event["eventType"] for event in self.events if job in event["job"]["name"]]

    def wait(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many have arrived."""
        with self.arrived:
            done = self.arrived.wait_for(lambda: len(self.events) >= count, timeout_s)
        assert done, f"{len(self.events)} events of {count}"

    def wait_until_answered(self, timeout_s: float = 60.0) -> None:
        """Until all of `answers` were given."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: not self.answers, timeout_s)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One that listens on a free port."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.take(body, self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
