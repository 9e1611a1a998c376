"""List requests become parameterised SQL, and nothing of a request's text becomes SQL."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from flyteidl.admin import common_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.listing import tables
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import ListQuery, Page, Table, compile_list, parse_page

_PAGE = Page(10, 20)


def _compile(table: Table, filters: str = "", sort_by: common_pb2.Sort | None = None, **scope: object) -> ListQuery:
    return compile_list(table, page=_PAGE, scope=scope, filters=parse_filters(filters), sort_by=sort_by)


def _refusal(table: Table, filters: str = "", sort_by: common_pb2.Sort | None = None) -> str:
    with pytest.raises(ApiError) as caught:
        _compile(table, filters, sort_by)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.message


def test_whole_statement() -> None:
    """Scope, filters, order with tie-breaker, limit and offset stand in one statement, all values as parameters."""
    query = _compile(tables.TASKS, "eq(version,v1)", common_pb2.Sort(key="created_at"), project="p", domain="d")
    assert query.sql("SELECT closure FROM tasks t") == (
        "SELECT closure FROM tasks t WHERE t.project = $1::text AND t.domain = $2::text AND t.version = $3::text"
        " ORDER BY t.created_at DESC, t.id DESC LIMIT $4 OFFSET $5"
    )
    assert query.args == ("p", "d", "v1", 10, 20)


@pytest.mark.parametrize(
    ("filters", "where", "values"),
    [
        ("value_in(phase,RUNNING;FAILED)", "e.phase = ANY($1::smallint[])", ([2, 6],)),
        ("eq(phase,4)", "e.phase = $1::smallint", (4,)),
        ("value_not_in(mode,1;2)", "NOT (e.mode = ANY($1::smallint[]))", ([1, 2],)),
        ("gte(duration,1h5m)", "e.duration >= $1::interval", (timedelta(minutes=65),)),
        ("lt(duration,1.5)", "e.duration < $1::interval", (timedelta(seconds=1.5),)),
        ("gt(created_at,2024-01-02T03:04:05.678912345Z)", "e.created_at > $1::timestamptz", None),
        ("contains(execution_name,ab)", "e.name LIKE $1::text ESCAPE ''", ("%ab%",)),
        ("not_like(name,.flytegen%)", "e.name NOT LIKE $1::text ESCAPE ''", (".flytegen%",)),
        ("ne(execution.user,me)", "e.principal <> $1::text", ("me",)),
        (
            "eq(execution_tag.key,k)+eq(execution_tag.value,v)",
            (
                "EXISTS (SELECT FROM execution_tags g WHERE g.execution_id = e.id"
                " AND g.key = $1::text AND g.value = $2::text)"
            ),
            ("k", "v"),
        ),
        (
            "eq(launch_plan.name,x)",
            "EXISTS (SELECT FROM launch_plans lp WHERE lp.id = e.launch_plan_id AND lp.name = $1::text)",
            ("x",),
        ),
    ],
)
def test_conditions(filters: str, where: str, values: tuple[object, ...] | None) -> None:
    """Each function and kind of column compares typed values."""
    query = _compile(tables.EXECUTIONS, filters)
    assert query.where == where
    expected = (datetime(2024, 1, 2, 3, 4, 5, 678912, tzinfo=UTC),) if values is None else values
    assert query.args[:-2] == expected


def test_refused_names() -> None:
    """Unknown columns, entities, sort keys and untypable values are refused with the wording clients know."""
    assert _refusal(tables.TASKS, "eq(nope,1)") == "'t.nope' is invalid filter"
    assert _refusal(tables.TASKS, "eq(w.name,1)") == "'w' entity is not allowed in filters"
    assert _refusal(tables.TASKS, "eq(workflow.name,1)") == "'workflow' entity is not allowed in filters"
    assert _refusal(tables.EXECUTIONS, "eq(workflow.nope,1)") == "'workflow.nope' is invalid filter"
    assert _refusal(tables.EXECUTIONS, "eq(phase,WALKING)").startswith("invalid value for phase in filters: ")
    assert _refusal(tables.EXECUTIONS, "eq(phase,99)").startswith("invalid value for phase in filters: ")
    assert _refusal(tables.EXECUTIONS, "gt(duration,long)").startswith("invalid value for duration in filters: ")
    assert _refusal(tables.EXECUTIONS, "gt(duration,1e300)").startswith("invalid value for duration in filters: ")
    assert _refusal(tables.EXECUTIONS, f"gt(id,{2**64})").startswith("invalid value for id in filters: ")
    assert _refusal(tables.EXECUTIONS, "contains(phase,RUN)") == "contains needs a text column, phase is none"
    assert _refusal(tables.TASKS, sort_by=common_pb2.Sort(key="id; --")) == "invalid sort key 'id; --'"
    assert _refusal(tables.NAMED_ENTITIES, sort_by=common_pb2.Sort(key="created_at")) == "invalid sort key 'created_at'"


def test_scope_of_none_means_null() -> None:
    """A scope value of None asks for rows without that value."""
    assert _compile(tables.NODE_EXECUTIONS, execution_id=5, parent_id=None).where == (
        "ne.execution_id = $1::bigint AND ne.parent_id IS NULL"
    )


def test_pages() -> None:
    """Tokens are plain offsets, given only when a page is full; limit 0 is refused unless it means all."""
    assert parse_page("ListTasks", 5, "10") == Page(5, 10)
    assert Page(5, 10).next_token(5) == "15"
    assert Page(5, 10).next_token(4) == ""
    assert Page(None, 0).next_token(0) == ""
    assert parse_page("ListProjects", 0, "", zero_is_all=True) == Page(None, 0)
    with pytest.raises(ApiError, match="invalid value for limit"):
        parse_page("ListTasks", 0, "")
    for token in ("x", "-1", "1.0", "٣", "9" * 19, "1" * 40):
        with pytest.raises(ApiError, match=f"invalid pagination token {token} for ListTasks"):
            parse_page("ListTasks", 1, token)


_TABLES = [value for value in vars(tables).values() if isinstance(value, Table)]
_strange = st.text(st.characters(min_codepoint=1, max_codepoint=0xD7FF, exclude_characters="+"), min_size=1)


@given(st.sampled_from(_TABLES), st.data(), _strange)
def test_no_value_reaches_the_statement(table: Table, data: st.DataObject, value: str) -> None:
    """Whatever the value, the statement is one of those the table's definition spells, or the request is refused."""
    column = data.draw(st.sampled_from(sorted(table.columns)))
    function = data.draw(st.sampled_from(["eq", "ne", "gt", "lte", "contains", "not_like", "value_in"]))
    marked = f"{function}({column},\u241f{value})"
    statement, code = "", grpc.StatusCode.INVALID_ARGUMENT
    try:
        statement = _compile(table, marked).sql("SELECT FROM x")
    except ApiError as error:
        code = error.code
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "\u241f" not in statement
