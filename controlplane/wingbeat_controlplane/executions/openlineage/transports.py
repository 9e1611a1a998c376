"""Where OpenLineage events go: an HTTP endpoint or a file, by the official client's transports."""

from dataclasses import dataclass
from typing import Protocol

import requests
from openlineage.client.event_v2 import RunEvent
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

_WORTH_A_RETRY = frozenset({401, 403, 404, 408, 425, 429})
"""Refusals that say more about the receiver than about the event: whoever configures it will mend them."""


class EventRefusedError(Exception):
    """The receiver will never take this event; the text says why."""


class NotDeliveredError(Exception):
    """The receiver did not take the event now."""


class EventTransport(Protocol):
    """Delivers events, one at a time; called in a thread."""

    def send(self, event: RunEvent) -> None:
        """Return once the receiver has the event. Raises EventRefusedError, NotDeliveredError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """`url` is the base of the receiver (`endpoint` is added), or empty when events go to a `file`."""

    url: str = ""
    endpoint: str = "api/v1/lineage"
    api_key: str = ""
    timeout_s: float = 5.0
    file: str = ""


class HttpEvents:
    """Posts each event."""

    def __init__(self, options: TransportOptions) -> None:
        """Raises ValueError for a URL that is none."""
        auth = ApiKeyTokenProvider({"api_key": options.api_key}) if options.api_key else TokenProvider({})
        config = HttpConfig(
            url=options.url,
            endpoint=options.endpoint,
            timeout=options.timeout_s,
            auth=auth,
            retry={"total": 0},  # the exporter repeats
        )
        self._transport = HttpTransport(config)

    def send(self, event: RunEvent) -> None:
        """See EventTransport."""
        try:
            self._transport.emit(event)
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if 400 <= status < 500 and status not in _WORTH_A_RETRY:
                raise EventRefusedError(str(error)) from error
            raise NotDeliveredError(str(error)) from error
        except (requests.RequestException, OSError) as error:
            raise NotDeliveredError(str(error)) from error

    def close(self) -> None:
        """See EventTransport."""
        self._transport.close()


class FileEvents:
    """Appends each event to a file, a line of JSON each."""

    def __init__(self, options: TransportOptions) -> None:
        self._transport = FileTransport(FileConfig(log_file_path=options.file, append=True))

    def send(self, event: RunEvent) -> None:
        """See EventTransport."""
        try:
            self._transport.emit(event)
        except (OSError, RuntimeError) as error:
            raise NotDeliveredError(str(error)) from error

    def close(self) -> None:
        """Nothing is held open."""


def open_transport(options: TransportOptions) -> EventTransport:
    """The one that the options mean. Raises ValueError for a URL that is none."""
    return HttpEvents(options) if options.url else FileEvents(options)
