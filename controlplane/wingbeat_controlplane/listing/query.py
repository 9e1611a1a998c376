"""List requests compiled to parameterised SQL: filters, scope, sorting and paging over one `Table`.

Every value is a parameter with a cast, every name comes out of the table's own definition, so no text of a request
reaches the statement. Filters on a related entity become one EXISTS each entity: rows never multiply, and several
filters on one entity speak of the same related row. A unique tie-breaker ends every ORDER BY, so pages neither repeat
nor skip rows that do not change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flyteidl.admin import common_pb2

from wingbeat_controlplane.errors import invalid_argument, invalid_value
from wingbeat_controlplane.listing.columns import TEXT, Column
from wingbeat_controlplane.listing.filters import LISTS, Filter, Function

OFFSET_MAX = 2**63 - 1

_OPERATORS = {
    Function.EQ: "=",
    Function.NE: "<>",
    Function.GT: ">",
    Function.GTE: ">=",
    Function.LT: "<",
    Function.LTE: "<=",
}


@dataclass(frozen=True, slots=True)
class Related:
    """An entity a list may filter on: `sql` is `FROM table alias WHERE <how it belongs to the listed row>`."""

    sql: str
    columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Table:
    """What one list rpc may name. `tie_breaker` columns are unique together within any scope."""

    entity: str
    alias: str
    columns: Mapping[str, Column]
    tie_breaker: tuple[str, ...]
    related: Mapping[str, Related] = field(default_factory=dict[str, Related])
    synonyms: frozenset[str] = frozenset()
    """Further prefixes that mean the listed entity itself."""
    sort_keys: frozenset[str] | None = None
    """Columns to sort by; None: every column."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of the result: `limit` None means all."""

    limit: int | None
    offset: int

    def next_token(self, count: int) -> str:
        """Token of the next page when this one came out full with `count` rows, else empty."""
        return str(self.offset + count) if self.limit is not None and count == self.limit else ""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Everything behind `SELECT ... FROM table alias`, with its parameters."""

    where: str
    order_by: str
    args: tuple[object, ...]
    page: Page

    def sql(self, select: str) -> str:
        """The whole statement; `select` ends with the listed table and its alias."""
        return (
            f"{select} WHERE {self.where} ORDER BY {self.order_by} LIMIT ${len(self.args) - 1} OFFSET ${len(self.args)}"
        )


class _Arguments:
    """Collects parameters and hands out their placeholders."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def add(self, value: object, postgres_type: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::{postgres_type}"


def parse_page(method: str, limit: int, token: str, *, zero_is_all: bool = False) -> Page:
    """The page a request asks for; `method` is the rpc's short name, for the message.

    Raises ApiError INVALID_ARGUMENT for limit 0 (unless it means all) and for a token that is no plain offset.
    """
    if limit == 0 and not zero_is_all:
        raise invalid_value("limit")
    if token and not (token.isascii() and token.isdecimal() and len(token) <= 19 and int(token) <= OFFSET_MAX):
        raise invalid_argument(f"invalid pagination token {token} for {method}")
    return Page(limit or None, int(token) if token else 0)


def compile_list(
    table: Table,
    *,
    page: Page,
    scope: Mapping[str, object],
    filters: Sequence[Filter] = (),
    sort_by: common_pb2.Sort | None = None,
    default_order: tuple[str, ...] = (),
) -> ListQuery:
    """The query of one list request.

    `scope` maps columns of the table to values they must equal (None: must be NULL). `sort_by` is the request's, None
    when it has none; then `default_order` (columns, ascending) comes before the tie-breaker.
    Raises ApiError INVALID_ARGUMENT for what the table does not allow.
    """
    arguments = _Arguments()
    conditions = [_in_scope(table.columns[name], value, arguments) for name, value in scope.items()]
    foreign: dict[str, list[str]] = {}
    own = {"", table.entity, *table.synonyms}
    for entry in filters:
        if entry.entity in own:
            conditions.append(_condition(entry, table.columns.get(entry.column), table.alias, arguments))
            continue
        related = table.related.get(entry.entity)
        if related is None:
            raise invalid_argument(f"'{entry.entity}' entity is not allowed in filters")
        condition = _condition(entry, related.columns.get(entry.column), entry.entity, arguments)
        foreign.setdefault(entry.entity, []).append(condition)
    for entity, parts in foreign.items():
        conditions.append(f"EXISTS (SELECT {table.related[entity].sql} AND {' AND '.join(parts)})")
    order_by = _order(table, sort_by, default_order)
    arguments.values += (page.limit, page.offset)
    return ListQuery(" AND ".join(conditions) or "TRUE", order_by, tuple(arguments.values), page)


def sort_of(sort: common_pb2.Sort) -> common_pb2.Sort | None:
    """A request's `sort_by` when it names a key, else None."""
    return sort if sort.key else None


def _in_scope(column: Column, value: object, arguments: _Arguments) -> str:
    if value is None:
        return f"{column.sql} IS NULL"
    return f"{column.sql} = {arguments.add(value, column.kind.postgres_type)}"


def _condition(entry: Filter, column: Column | None, shown_entity: str, arguments: _Arguments) -> str:
    if column is None:
        raise invalid_argument(f"'{shown_entity}.{entry.column}' is invalid filter")
    kind = column.kind
    if entry.function in (Function.CONTAINS, Function.NOT_LIKE):
        if kind is not TEXT:
            raise invalid_argument(f"{entry.function.value} needs a text column, {entry.field} is none")
        if entry.function is Function.CONTAINS:
            return f"{column.sql} LIKE {arguments.add(f'%{entry.values[0]}%', 'text')} ESCAPE ''"
        return f"{column.sql} NOT LIKE {arguments.add(entry.values[0], 'text')} ESCAPE ''"
    try:
        values = [kind.parse(value) for value in entry.values]
    except (ValueError, OverflowError) as error:
        raise invalid_argument(f"invalid value for {entry.field} in filters: {error}") from error
    if entry.function in LISTS:
        found = f"{column.sql} = ANY({arguments.add(values, f'{kind.postgres_type}[]')})"
        return found if entry.function is Function.VALUE_IN else f"NOT ({found})"
    return f"{column.sql} {_OPERATORS[entry.function]} {arguments.add(values[0], kind.postgres_type)}"


def _order(table: Table, sort_by: common_pb2.Sort | None, default_order: tuple[str, ...]) -> str:
    direction = "ASC"
    keys = [table.columns[name].sql for name in default_order]
    if sort_by is not None:
        allowed = table.columns.keys() if table.sort_keys is None else table.sort_keys
        if sort_by.key not in allowed:
            raise invalid_argument(f"invalid sort key '{sort_by.key}'")
        direction = "ASC" if sort_by.direction == common_pb2.Sort.ASCENDING else "DESC"
        keys = [table.columns[sort_by.key].sql]
    return ", ".join(f"{key} {direction}" for key in (*keys, *table.tie_breaker))
