"""What the simulated database reads out of the real SQL, so that a changed column or rule need not be written twice.

Understood are the forms that the journal's `commit` is made of (UPDATE or INSERT ... ON CONFLICT of the records of an
array parameter) and the select lists of reads. Anything else is an error that says what to teach this module.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from wingbeat_propeller.postgres.queries import load_queries

Row = dict[str, object]
Expression = Callable[[Row, Row], object]
"""Of the record that comes in (or is about to be inserted) and the row that is stored."""

PACKAGE = "wingbeat_propeller.postgres"
_SPOKEN = (PACKAGE, "wingbeat_controlplane.executions")
"""Packages whose statements may come."""
FENCED = "EXISTS (SELECT FROM fence)"

_NAME = re.compile(r"(?:(\w+)\.)?(\w+)")
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_UNNEST = re.compile(r"FROM unnest\(\$(\d+)::(\w+)\[\]\)")
_FINAL_PHASES = (4, 6, 7, 8)


class UnknownSqlError(NotImplementedError):
    """The simulated database does not understand this statement; teach it in tests/simulation."""


@dataclass(frozen=True, slots=True)
class Write:
    """One part of the commit: what becomes of the records in parameter number `parameter`."""

    table: str
    parameter: int
    fields: tuple[str, ...]
    """Names of a record's fields."""
    key: tuple[str, ...]
    """Columns that find the stored row; none: rows are only appended."""
    insert: Mapping[str, Expression] | None
    """None: rows that are not stored are left out."""
    update: Mapping[str, Expression]
    is_fenced: bool


@cache
def blocks() -> Mapping[str, tuple[str, str]]:
    """File and block name of every statement by its text."""
    found: dict[str, tuple[str, str]] = {}
    for package in _SPOKEN:
        for file in files(package).iterdir():
            if file.name.endswith(".sql"):
                for name, text in load_queries(package, file.name).items():
                    found.setdefault(text, (file.name, name))
    return found


@cache
def record_types() -> Mapping[str, tuple[str, ...]]:
    """Field names of every composite type that the migrations make."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(files(PACKAGE).joinpath("migrations").iterdir(), key=lambda file: file.name):
        for name, body in re.findall(r"CREATE TYPE (\w+) AS \((.*?)\);", file.read_text(), re.DOTALL):
            found[name] = tuple(line.split()[0] for line in _split(_without_comments(body)))
    return found


@cache
def table_defaults(table: str) -> Mapping[str, object]:
    """What a column has in a row that is inserted without it, by name; None for those without a constant default."""
    found: dict[str, object] = {}
    for file in sorted(files(PACKAGE).joinpath("migrations").iterdir(), key=lambda file: file.name):
        text = _without_comments(file.read_text())
        for body in re.findall(rf"CREATE TABLE {table} \((.*?)\n\)", text, re.DOTALL):
            found |= dict(_default(column) for column in _split(body) if column[0].islower())
        for body in re.findall(rf"ALTER TABLE {table}\s+(ADD COLUMN .*?);", text, re.DOTALL):
            found |= dict(_default(column.removeprefix("ADD COLUMN ")) for column in _split(body))
    return found


def _default(column: str) -> tuple[str, object]:
    name, kind = column.split()[:2]
    match = re.search(r"DEFAULT ('(\w*)'|-?\d+|true|false)", column)
    if match is None:
        return name, None
    if match[1].startswith("'"):
        return name, match[2].encode() if kind == "bytea" else match[2]
    return name, match[1] == "true" if kind == "boolean" else int(match[1])


_LEFT_OUT = frozenset(
    (
        *("fence", "slots_freed", "artifacts_made"),
        *("values_known", "sources_known", "taken_over", "elements_taken_over"),
    )
)


@cache
def commit_writes(text: str) -> Sequence[Write]:
    """The writes of the journal's commit statement, without its fence, the slots that it frees, and lineage."""
    writes: list[Write] = []
    for name, body in _ctes(_without_comments(text)):
        if name not in _LEFT_OUT:
            writes.append(_update(body) if body.startswith("UPDATE") else _insert(body))
    return writes


@cache
def select_list(text: str) -> Mapping[str, Expression]:
    """Columns of a read by name, as expressions of the stored row."""
    match = re.match(r"SELECT (.*?)\nFROM ", _without_comments(text), re.DOTALL)
    if match is None:
        raise UnknownSqlError(text)
    columns: dict[str, Expression] = {}
    for item in _split(match[1]):
        expression, _, name = item.rpartition(" AS ")
        compiled = _expression(expression or name)
        columns[name if expression else _column(name)] = compiled
    return columns


def _without_comments(text: str) -> str:
    return re.sub(r"\s*--[^\n]*", "", text).strip()


def _ctes(text: str) -> list[tuple[str, str]]:
    """Names and bodies of the WITH list."""
    if not text.startswith("WITH "):
        raise UnknownSqlError(text)
    found: list[tuple[str, str]] = []
    position = len("WITH ")
    while match := re.compile(r"\s*(\w+) AS \(").match(text, position):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        found.append((match[1], text[match.end() : end - 1].strip()))
        position = end + (text[end : end + 1] == ",")
    return found


def _source(body: str) -> tuple[int, tuple[str, ...]]:
    match = _UNNEST.search(body)
    if match is None:
        raise UnknownSqlError(body)
    return int(match[1]), record_types()[match[2]]


def _update(body: str) -> Write:
    match = re.match(r"UPDATE (\w+) AS (\w+) SET\s(.*?)\sFROM unnest.*?WHERE \2\.(\w+) = u\.(\w+)", body, re.DOTALL)
    if match is None:
        raise UnknownSqlError(body)
    parameter, fields = _source(body)
    return Write(match[1], parameter, fields, (match[4],), None, _assignments(match[3]), FENCED in body)


def _insert(body: str) -> Write:
    match = re.match(r"INSERT INTO (\w+)(?: AS \w+)? \((.*?)\)\s+SELECT\s(.*?)\sFROM unnest", body, re.DOTALL)
    if match is None:
        raise UnknownSqlError(body)
    parameter, fields = _source(body)
    columns = dict(zip(_split(match[2]), map(_expression, _split(match[3])), strict=True))
    conflict = re.search(r"ON CONFLICT \((.*?)\) DO UPDATE SET\s(.*)", body, re.DOTALL)
    key = tuple(_split(conflict[1])) if conflict else ()
    update = _assignments(conflict[2]) if conflict else {}
    if "ON CONFLICT" in body and conflict is None:
        raise UnknownSqlError(body)
    return Write(match[1], parameter, fields, key, columns, update, FENCED in body)


def _assignments(text: str) -> dict[str, Expression]:
    pairs = [item.split(" = ", 1) for item in _split(text)]
    return {column: _expression(expression) for column, expression in pairs}


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def _column(text: str) -> str:
    """The column that an unnamed item of a select list shows."""
    match = re.fullmatch(r"extract\(epoch FROM (\w+)\)::float8", text)
    return match[1] if match else text.rpartition(".")[2]


def _phase(incoming: Row, stored: Row) -> object:
    aborting = stored["phase"] == 9 and incoming["phase"] not in _FINAL_PHASES
    return stored["phase"] if aborting else incoming["phase"]


def _abort_cause(_incoming: Row, stored: Row) -> object:
    return (stored["abort_cause"] or "") if stored["abort_requested_at"] is not None else None


_SPECIAL: dict[str, Expression] = {
    "CASE WHEN e.phase = 9 AND u.phase NOT IN (4, 6, 7, 8) THEN e.phase ELSE u.phase END": _phase,
    "CASE WHEN abort_requested_at IS NOT NULL THEN coalesce(abort_cause, '') END": _abort_cause,
}
_STORED = {"a", "e", "n", "t"}
"""Aliases of tables that are written to."""


def _expression(text: str) -> Expression:
    text = " ".join(text.split())
    if text in _SPECIAL:
        return _SPECIAL[text]
    if match := re.fullmatch(r"extract\(epoch FROM (\w+)\)::float8", text):
        return _name(None, match[1])
    if match := _NAME.fullmatch(text):
        return _name(match[1], match[2])
    if match := _CALL.fullmatch(text):
        if match[1] == "to_timestamp":
            return _expression(match[2])
        if match[1] == "coalesce":
            first, second = map(_expression, _split(match[2]))
            return lambda incoming, stored: second(incoming, stored) if (v := first(incoming, stored)) is None else v
    raise UnknownSqlError(f"in the SQL of the journal or a read: {text}")


def _name(alias: str | None, column: str) -> Expression:
    if alias in _STORED:
        return lambda _incoming, stored: stored[column]
    return lambda incoming, _stored: incoming[column]
