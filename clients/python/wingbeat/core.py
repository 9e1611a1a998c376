"""What all parts of a client share: the connection, the usual project and domain, and names as callers write them."""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from wingbeat.connection import Connection, Patience
from wingbeat.endpoint import find_endpoint
from wingbeat.errors import ForkedError
from wingbeat.executions import Execution
from wingbeat.identifiers import DOMAIN, PROJECT, ExecutionId

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from wingbeat.transfers import Transfers

ExecutionRef: TypeAlias = ExecutionId | Execution | str
"""An execution: its identifier, one that was got before, its name, or `project/domain/name`."""

A = TypeVar("A", bound="Message")
T = TypeVar("T")

ADMIN = "/flyteidl.service.AdminService/"
PAGE = 100


class Core:
    """Base of the parts of `AsyncClient`."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        insecure: bool | None = None,
        ca_certificate: str | None = None,
        config: str | None = None,
        data_dir: str | None = None,
        project: str = PROJECT,
        domain: str = DOMAIN,
        patience: Patience | None = None,
    ) -> None:
        found = find_endpoint(endpoint, data_dir, os.environ, config=config).trusting(ca_certificate)
        self.endpoint = found if insecure is None else replace(found, insecure=insecure)
        self.project = project
        self.domain = domain
        self._connection = Connection(self.endpoint, patience or Patience())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._process = os.getpid()
        self._transfers: Transfers | None = None

    @property
    def transfers(self) -> "Transfers":
        """What moves files to and from the store."""
        if self._transfers is None:
            from wingbeat.transfers import Transfers

            self._transfers = Transfers(self._connection, self._block)
        return self._transfers

    async def call(self, method: str, request: "Message", answer: type[A], *, timeout_s: float | None = None) -> A:
        """Any rpc of the server by its full name, for what has no method here. It may be sent more than once.

        Raises ServerError.
        """
        self._use()
        return await self._connection.unary(method, request, answer, timeout_s=timeout_s)

    def execution_id(self, execution: ExecutionRef) -> ExecutionId:
        """The identifier of what a caller means. Raises ValueError for a text that is no name."""
        if isinstance(execution, Execution):
            return execution.id
        if isinstance(execution, str):
            return ExecutionId.parse(execution, self.project, self.domain)
        return execution

    async def close(self) -> None:
        """Let go of the connection; what is under way is cancelled."""
        await self._connection.close()

    def _use(self) -> None:
        if os.getpid() != self._process:
            raise ForkedError("this client was made before the process forked: make another one in the child")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.get_ident()

    def _block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the client's loop, waited for by another thread."""
        if self._loop is None or threading.get_ident() == self._thread:
            coroutine.close()
            raise RuntimeError("this would block the event loop: use the method that ends in _async, with await")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def pages(
    fetch: Callable[[str], Coroutine[Any, Any, tuple[list[T], str]]], limit: int | None
) -> AsyncIterator[T]:
    """Items of one page after the other; `fetch` gets the token of the next and answers with its items and the token
    after it."""
    left = limit
    token = ""
    while True:
        items, token = await fetch(token)
        for item in items:
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield item
        if not token or left == 0:
            return
