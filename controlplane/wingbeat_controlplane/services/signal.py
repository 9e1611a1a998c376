"""SignalService."""

from flyteidl.admin import signal_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.executions.signals import SignalStore
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import SIGNALS
from wingbeat_controlplane.registry.identifiers import check_name
from wingbeat_controlplane.services.rpcs import CallContext


class SignalServicer:
    """GetOrCreateSignal, SetSignal, ListSignals."""

    def __init__(self, signals: SignalStore) -> None:
        self._signals = signals

    async def GetOrCreateSignal(
        self, request: signal_pb2.SignalGetOrCreateRequest, context: CallContext
    ) -> signal_pb2.Signal:
        """The signal a gate waits for."""
        if not request.HasField("id"):
            raise missing("id")
        return await self._signals.get_or_create(request.id, request.type)

    async def SetSignal(
        self, request: signal_pb2.SignalSetRequest, context: CallContext
    ) -> signal_pb2.SignalSetResponse:
        """Give a waiting gate its value."""
        if not request.HasField("id"):
            raise missing("id")
        if not request.HasField("value"):
            raise missing("value")
        await self._signals.set(request.id, request.value)
        return signal_pb2.SignalSetResponse()

    async def ListSignals(self, request: signal_pb2.SignalListRequest, context: CallContext) -> signal_pb2.SignalList:
        """One page of an execution's signals; those without a value are waited for."""
        if not request.HasField("workflow_execution_id"):
            raise missing("execution")
        execution = request.workflow_execution_id
        check_name(execution, execution.name)
        page = parse_page("ListSignals", request.limit, request.token)
        query = compile_list(
            SIGNALS,
            page=page,
            scope={
                "execution_project": execution.project,
                "execution_domain": execution.domain,
                "execution_name": execution.name,
            },
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        found = await self._signals.list(query)
        return signal_pb2.SignalList(signals=found, token=page.next_token(len(found)))
