"""The start and end nodes of a frame: they begin and end with no work in between."""

from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value
from wingbeat_propeller.core.walk import Walk


class EndKind(Kind):
    """The end node's inputs are the outputs of its workflow."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Succeed, and with it the frame."""
        run.started_at = walk.now
        output_uri = None if inputs is not None else f"{run.output_dir}/outputs.pb"
        walk.succeed(frame, run, node, values, outputs=inputs, output_uri=output_uri)
