"""What the items of one call have in common, looked up and decided once for each target, project and group of settings.

Lives as long as the call: what the registry or the attributes say afterwards holds for the next one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from flyteidl.admin import execution_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.decision import Decision, Surroundings, decide
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.request_checks import check_create
from wingbeat_controlplane.launching.item_inputs import GivenInputs, given
from wingbeat_controlplane.launching.item_settings import Defaults, ItemSettings, settings_key, settings_of
from wingbeat_controlplane.launching.refusals import RefusedError, refused
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeatidl.launch.v1 import item_pb2

T = TypeVar("T")
KEPT_MAX = 10_000
"""Groups of settings kept decided, as many as a call has items."""


@dataclass(frozen=True, slots=True)
class _Refused:
    error: RefusedError


class Lookups:
    """For the items that share `defaults`."""

    def __init__(self, launcher: Launcher, versions: TargetVersions, defaults: Defaults, caller: Caller) -> None:
        self._launcher = launcher
        self._versions = versions
        self._defaults = defaults
        self._caller = caller
        self._settings: dict[bytes, ItemSettings | _Refused] = {}
        self._decisions: dict[bytes, Decision | _Refused] = {}
        self._surroundings: dict[bytes, Surroundings | _Refused] = {}
        self._inputs: GivenInputs | _Refused | None = None

    def inputs(self, item: item_pb2.LaunchItem) -> GivenInputs:
        """Those of an item over those of the template. Raises RefusedError."""
        if self._inputs is None:
            try:
                self._inputs = given(self._defaults.template.inputs)
            except RefusedError as error:
                self._inputs = _Refused(error)
        template = _unless_refused(self._inputs)
        inputs = given(item.inputs)
        return inputs if template.is_empty else inputs.over(template)

    def settings(self, item: item_pb2.LaunchItem) -> ItemSettings:
        """Target and settings of an item. Raises RefusedError."""
        key = settings_key(item)
        found = self._settings.get(key)
        if found is None:
            try:
                found = settings_of(item, self._defaults)
            except RefusedError as error:
                found = _Refused(error)
            _keep(self._settings, key, found)
        return _unless_refused(found)

    def known_decision(self, settings: ItemSettings) -> Decision | None:
        """As `decision`, if nothing has to be looked up."""
        found = self._decisions.get(settings.digest)
        return None if found is None else _unless_refused(found)

    async def decision(self, settings: ItemSettings) -> Decision:
        """What `settings` come to. Raises RefusedError, asyncpg's errors."""
        return await _once(self._decisions, settings.digest, lambda: self._decide(settings))

    async def _decide(self, settings: ItemSettings) -> Decision:
        request = execution_pb2.ExecutionCreateRequest(
            project=settings.project, domain=settings.domain, spec=settings.spec
        )
        request.spec.launch_plan.CopyFrom(await self._versions.find(settings.target))
        try:
            check_create(request)
        except ApiError as error:
            raise refused("", error) from error
        where = (settings.project, settings.domain, settings.target.SerializeToString(deterministic=True))
        surroundings = await _once(self._surroundings, repr(where).encode(), lambda: self._look_up(request))
        try:
            return decide(request, surroundings, self._launcher.options, principal=self._caller.principal)
        except ApiError as error:
            raise refused("", error) from error

    async def _look_up(self, request: execution_pb2.ExecutionCreateRequest) -> Surroundings:
        try:
            return await self._launcher.look_up(request)
        except ApiError as error:
            raise refused("target" if "NOT_FOUND" in error.code.name else "", error) from error


async def _once(kept: dict[bytes, T | _Refused], key: bytes, find: Callable[[], Awaitable[T]]) -> T:
    found = kept.get(key)
    if found is None:
        try:
            found = await find()
        except RefusedError as error:
            found = _Refused(error)
        _keep(kept, key, found)
    return _unless_refused(found)


def _keep(kept: dict[bytes, T], key: bytes, value: T) -> None:
    if len(kept) >= KEPT_MAX:
        kept.clear()
    kept[key] = value


def _unless_refused(found: T | _Refused) -> T:
    if isinstance(found, _Refused):
        raise found.error
    return found
