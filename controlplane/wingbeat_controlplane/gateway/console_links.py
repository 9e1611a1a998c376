"""Addresses of the console, which clients print for people, answered as long as there is no console.

flytekit says `Go to http://.../console/projects/P/domains/D/executions/NAME`; whoever follows that is sent to what the
REST interface knows of the execution.
"""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route


def console_routes() -> list[Route]:
    """GET `/console/projects/{project}/domains/{domain}/executions/{name}`."""

    async def execution(request: Request) -> Response:
        names = (request.path_params[part] for part in ("project", "domain", "name"))
        return RedirectResponse("/api/v1/executions/" + "/".join(quote(name, safe="") for name in names))

    return [Route("/console/projects/{project}/domains/{domain}/executions/{name}", execution)]
