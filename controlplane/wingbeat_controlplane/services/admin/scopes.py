"""Which rows a list request speaks of."""

from flyteidl.admin import common_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.registry.identifiers import check_optional_text, check_scope


def entity_scope(request: common_pb2.ResourceListRequest) -> dict[str, object]:
    """Project and domain, which are required, and the name if given, as columns of a table of versions."""
    if not request.HasField("id"):
        raise missing("id")
    check_scope(request.id)
    check_optional_text("name", request.id.name)
    scope: dict[str, object] = {"project": request.id.project, "domain": request.id.domain}
    return {**scope, "name": request.id.name} if request.id.name else scope
