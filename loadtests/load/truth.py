"""What must hold after a run: every execution that was launched ended exactly once, and the watch missed nothing."""

import time
from collections import Counter
from typing import Any, Final

import gevent
import grpc

from loadtests.load.connection import Connection
from loadtests.load.scope import DOMAIN, PROJECT
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

_ENDS_S_MAX: Final = 120.0
_WAIT_MAX: Final = 10_000


class Truth:
    """Who was launched, and what a watch from before the first launch has told of them."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.ends: Counter[str] = Counter()
        self.phases: Counter[tuple[str, int]] = Counter()
        self._watching: Any = None

    def begin(self, connection: Connection) -> None:
        """Watch from this moment on."""
        cursor: str = connection.watch.GetCursor(watch_pb2.GetCursorRequest()).now
        self._watching = gevent.spawn(self._watch, connection, cursor)

    def _watch(self, connection: Connection, cursor: str) -> None:
        wanted = transition_pb2.LEVEL_EXECUTION
        while True:
            request = watch_pb2.WatchTransitionsRequest(cursor=cursor, levels=[wanted])
            try:
                for message in connection.watch.WatchTransitions(request):
                    for transition in message.transitions:
                        name = transition.execution.name
                        self.phases[name, transition.execution_phase] += 1
                        self.ends[name] += transition.is_final
                    cursor = message.cursor
            except grpc.RpcError:
                gevent.sleep(0.2)

    def finish(self, connection: Connection) -> dict[str, Any]:
        """Wait for all ends; counts, and what does not hold as `lost` (launched, no end by the watch), `doubled` (told
        twice by the watch), `not_ended` and `failed` (as the server says)."""
        ended: dict[str, int] = {}
        for first in range(0, len(self.launched), _WAIT_MAX):
            names = self.launched[first : first + _WAIT_MAX]
            ids = [identity_pb2.ExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name) for name in names]
            request = watch_pb2.WaitExecutionsRequest(executions=ids)
            request.timeout.FromSeconds(int(_ENDS_S_MAX))
            for message in connection.watch.WaitExecutions(request):
                ended |= {end.execution.name: end.phase for end in message.ends}
        until = time.monotonic() + _ENDS_S_MAX / 10
        while time.monotonic() < until and any(not self.ends[name] for name in ended):
            gevent.sleep(0.05)
        self._watching.kill()
        mine = set(self.launched)
        return {
            "launched": len(self.launched),
            "ended": len(ended),
            "not_ended": len(mine - ended.keys()),
            "failed": sum(phase != identity_pb2.EXECUTION_PHASE_SUCCEEDED for phase in ended.values()),
            "lost": sum(not self.ends[name] for name in mine),
            "doubled": sum(count > 1 for (name, _), count in self.phases.items() if name in mine)
            + sum(self.ends[name] > 1 for name in mine),
            "launched_twice": len(self.launched) - len(mine),
        }


TRUTH: Final = Truth()
