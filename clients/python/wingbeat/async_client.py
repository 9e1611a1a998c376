"""`AsyncClient`: everything a program asks of a Wingbeat server, for asyncio. `Client` is the same without it."""

from types import TracebackType
from typing import Self

from wingbeat.batches import Batches
from wingbeat.changing import Changing
from wingbeat.watching import Watching


class AsyncClient(Batches, Changing, Watching):
    """A client of one server. Nothing is sent before the first call; one client serves any number of tasks at once.

    `endpoint` is host:port (`https://` before it: TLS). Without it the server is found like that of the commands: by
    WINGBEAT_ENDPOINT, FLYTECTL_CONFIG, the data folder of `wingbeat up`, or `~/.flyte/config.yaml`. `project` and
    `domain` are for everything that is named without them.

    A client belongs to the event loop it is first used in, and to its process: after a fork the child makes its own.
    """

    async def __aenter__(self) -> Self:
        self._use()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
