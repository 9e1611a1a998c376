"""Decisions about launches, kept while what they rest on stays the same.

A steady stream of launches mostly differs in names and inputs, so each asks for a decision that has just been made.
What it rests on is compared as serialized: the settings of the request and whatever was looked up for it. So nothing
here can be out of date.
"""

from flyteidl.admin import execution_pb2

from wingbeat_controlplane.executions.decision import Decision, Surroundings, decide
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.registry.recent import Recent

KEPT_BYTES_MAX = 8 << 20
SPEC_BYTES_MAX = 16 << 10
"""A request with larger settings is decided anew."""

_OVERHEAD_BYTES = 2_000


class Decisions:
    """Decides as `decide` does, for executions without parents."""

    def __init__(self, options: ExecutionOptions) -> None:
        self._options = options
        self._kept: Recent[tuple[object, ...], Decision] = Recent(KEPT_BYTES_MAX)

    def of(
        self, request: execution_pb2.ExecutionCreateRequest, surroundings: Surroundings, *, principal: str
    ) -> Decision:
        """Parameters and errors as for `decide`."""
        size = request.spec.ByteSize()
        if size > SPEC_BYTES_MAX:
            return decide(request, surroundings, self._options, principal=principal)
        key = (
            *(request.project, request.domain, principal, request.spec.SerializeToString()),
            surroundings.content,
        )
        found = self._kept.get(key)
        if found is None:
            found = decide(request, surroundings, self._options, principal=principal)
            self._kept.put(key, found, 4 * size + _OVERHEAD_BYTES)
        return found
