"""Projects and the domains that each of them has. Other stores ask here whether a create may go ahead."""

from collections.abc import Sequence

import asyncpg
import grpc
from flyteidl.admin import common_pb2, project_pb2

from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument, invalid_value
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.identifiers import check_optional_text, check_text
from wingbeat_controlplane.registry.labels import check_labels, is_dns_label
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_propeller.postgres.queries import load_queries

NAME_LENGTH_MAX = 64
DESCRIPTION_LENGTH_MAX = 300

_SQL = load_queries("wingbeat_controlplane.registry", "projects.sql")


def check_project(project: project_pb2.Project) -> None:
    """What a project may look like, at registration (and on update, where `check_update` applies)."""
    check_text("project_id", project.id)
    check_text("project_name", project.name)
    if not is_dns_label(project.id):
        raise invalid_argument(
            f"invalid project id [{project.id}]: at most 63 lower case letters, digits and inner dashes are expected"
        )
    check_update(project)


def check_update(project: project_pb2.Project) -> None:
    """What an update may contain: empty fields keep what is stored."""
    check_text("project_id", project.id)
    check_optional_text("project_name", project.name)
    if len(project.name) > NAME_LENGTH_MAX:
        raise invalid_argument(f"project_name cannot exceed {NAME_LENGTH_MAX} characters")
    if "\0" in project.description:
        raise invalid_value("project_description")
    if len(project.description) > DESCRIPTION_LENGTH_MAX:
        raise invalid_argument(f"project_description cannot exceed {DESCRIPTION_LENGTH_MAX} characters")
    if project.domains:
        raise invalid_argument("domains are currently only set system wide. Please retry without domains included")
    if project.state not in project_pb2.Project.ProjectState.values():
        raise invalid_value("state")
    check_labels(project.labels.values)


class ProjectStore:
    """The projects of an installation."""

    def __init__(self, pool: asyncpg.Pool, options: RegistryOptions) -> None:
        self._pool = pool
        self._options = options

    def domains(self) -> list[project_pb2.Domain]:
        """The configured domains, in their order."""
        return [project_pb2.Domain(id=domain, name=domain) for domain in self._options.domains]

    async def register(self, project: project_pb2.Project) -> None:
        """Add a project. Raises ApiError INVALID_ARGUMENT or ALREADY_EXISTS."""
        check_project(project)
        if await self._pool.fetchval(_SQL["register_project"], *_values(project)) is None:
            raise already_exists(f"project [{project.id}] already exists")

    async def update(self, project: project_pb2.Project) -> None:
        """Overwrite the state, and each other field that is not empty. Raises ApiError (also NOT_FOUND)."""
        check_update(project)
        if await self._pool.fetchval(_SQL["update_project"], *_values(project)) is None:
            raise _absent(project.id)

    async def get(self, identifier: str) -> project_pb2.Project:
        """One project with its domains. Raises ApiError NOT_FOUND."""
        check_text("id", identifier)
        row = await self._pool.fetchrow(_SQL["get_project"], identifier)
        if row is None:
            raise _absent(identifier)
        return self._message(row)

    async def list(self, query: ListQuery) -> Sequence[project_pb2.Project]:
        """One page of projects."""
        rows = await self._pool.fetch(query.sql(_SQL["list_projects"]), *query.args)
        return [self._message(row) for row in rows]

    async def require_active(self, project: str, domain: str | None) -> project_pb2.Project:
        """The project, if things may be created in it and in this domain; `domain` None asks about the project alone.

        Raises ApiError INVALID_ARGUMENT when the project is unknown or archived or the domain is not configured.
        """
        return self.active(await self._read(project, domain), project, domain)

    def active(self, row: asyncpg.Record | None, project: str, domain: str | None) -> project_pb2.Project:
        """As `require_active`, of a project whose columns have been read; None: there is no such project."""
        found = self._known(row, project, domain)
        if found.state != project_pb2.Project.ACTIVE:
            raise invalid_argument(f"project [{project}] is not active", [project_pb2.InactiveProject(id=project)])
        self._check_domain(domain)
        return found

    async def require_known(self, project: str, domain: str | None) -> project_pb2.Project:
        """As `require_active` for what is only read: archived projects are fine."""
        found = self._known(await self._read(project, domain), project, domain)
        self._check_domain(domain)
        return found

    async def _read(self, project: str, domain: str | None) -> asyncpg.Record | None:
        try:
            check_text("id", project)
        except ApiError as error:
            raise _unregistered(project, domain, error) from error
        return await self._pool.fetchrow(_SQL["get_project"], project)

    def _known(self, row: asyncpg.Record | None, project: str, domain: str | None) -> project_pb2.Project:
        if row is None:
            raise _unregistered(project, domain, _absent(project))
        return self._message(row)

    def _check_domain(self, domain: str | None) -> None:
        if domain is not None and domain not in self._options.domains:
            raise invalid_argument(f"domain [{domain}] is unrecognized by system")

    def _message(self, row: asyncpg.Record) -> project_pb2.Project:
        return project_pb2.Project(
            id=row["identifier"],
            name=row["name"],
            description=row["description"],
            labels=common_pb2.Labels.FromString(row["labels"]),
            state=row["state"],
            domains=self.domains(),
        )


def _values(project: project_pb2.Project) -> tuple[str, str, str, bytes, int]:
    labels = project.labels.SerializeToString(deterministic=True)
    return project.id, project.name, project.description, labels, project.state


def _unregistered(project: str, domain: str | None, reason: ApiError) -> ApiError:
    what = f"project [{project}] is" if domain is None else f"project [{project}] and domain [{domain}] are"
    return invalid_argument(f"failed to validate that {what} registered, err: [{reason.message}]")


def _absent(identifier: str) -> ApiError:
    return ApiError(grpc.StatusCode.NOT_FOUND, f"project [{identifier}] not found")
