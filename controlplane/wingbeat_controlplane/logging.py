"""Log lines of a process: structlog for ours, the standard library's loggers led into the same stream.

Called once, first thing in a process. JSON is one object a line with `timestamp`, `level`, `event`, `logger` and
`role`; console is for people. `render_console` shows a JSON line of another process the way our own would look.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["console", "json"]


@dataclass(frozen=True, slots=True)
class LoggingOptions:
    """`role` stands in every line. `level` is the lowest one written."""

    role: str
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = "json"


def choose_format(wanted: Literal["auto", "console", "json"], stream: TextIO) -> LogFormat:
    """`auto` is readable on a terminal and JSON elsewhere."""
    return wanted if wanted != "auto" else ("console" if stream.isatty() else "json")


def configure_logging(options: LoggingOptions, write: Callable[[str], object] | None = None) -> None:
    """Route all logging of this process to `write` (a line without its end), by default the standard output."""
    write = write or _print
    level: int = getattr(logging, options.level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_role(options.role),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = console_renderer() if options.format == "console" else _to_json
    handler = _LineHandler(write)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def console_renderer() -> structlog.dev.ConsoleRenderer:
    """Colours only on a terminal."""
    return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), pad_event_to=40)


def parse_line(line: str, role: str) -> EventDict:
    """A log line of a child process as an event: its JSON object, or the bare text of a program that knows no JSON."""
    try:
        event: object = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = None
    if isinstance(event, dict) and "event" in event:
        return {str(key): value for key, value in event.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  (JSON)
    return {"event": line, "role": role}


def plain_text(line: str) -> str:
    """What a log line says, for an error message: its event, reason and traceback, without the rest."""
    event = parse_line(line, "")
    said = [str(event["event"]), *(str(event[key]) for key in ("reason", "exception") if key in event)]
    return ": ".join(said[:2]) + "".join(f"\n{text}" for text in said[2:])


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:  # noqa: BLE001  (the contract of logging handlers: a log line never breaks its caller)
            self.handleError(record)


def _add_role(role: str) -> Processor:
    def add(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    return add


def _to_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode(errors="replace")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
