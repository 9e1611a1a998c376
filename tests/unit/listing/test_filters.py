"""The filter language: what is legal, what is refused, and that text and structure say the same."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.listing.filters import LISTS, Filter, Function, parse_filters


def test_several_conditions_with_blank_and_list() -> None:
    """Conditions are split at `+`, values at `;`, and one blank after the comma is no part of the value."""
    assert parse_filters("eq(workflow.name, a b)+value_in(phase,RUNNING;FAILED)") == (
        Filter(Function.EQ, "workflow", "name", ("a b",)),
        Filter(Function.VALUE_IN, "", "phase", ("RUNNING", "FAILED")),
    )


def test_values_may_hold_brackets_commas_and_semicolons() -> None:
    """Only the first comma and the last bracket have a meaning, and only list functions split at `;`."""
    assert parse_filters("eq(name,f(x),y;z)") == (Filter(Function.EQ, "", "name", ("f(x),y;z",)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eq", "invalid value for filters"),
        ("eq(name,)", "invalid value for filters"),
        ("eq(name)", "invalid value for filters"),
        ("eq(name,a)+", "invalid value for filters"),
        ("eq(name,a\0)", "invalid value for filters"),
        ("+".join(["eq(a,b)"] * 101), "invalid value for filters: at most 100 conditions are allowed"),
        ("like(name,a)", "unrecognized filter function: like"),
        ("eq(a.b.c,x)", "'a.b.c' is invalid filter"),
        ("eq(.b,x)", "'.b' is invalid filter"),
        ("eq(a.,x)", "'a.' is invalid filter"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    """Text outside the language is INVALID_ARGUMENT with the wording clients know."""
    with pytest.raises(ApiError) as caught:
        parse_filters(text)
    assert (caught.value.code, caught.value.message) == (grpc.StatusCode.INVALID_ARGUMENT, message)


_words = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
_values = st.text(st.characters(min_codepoint=1, max_codepoint=0xD7FF, exclude_characters="+;"), min_size=1).filter(
    lambda text: not text.startswith(" ")
)


@st.composite
def _filters(draw: st.DrawFn) -> Filter:
    function = draw(st.sampled_from(Function))
    size_max = 4 if function in LISTS else 1
    values = draw(st.lists(_values, min_size=1, max_size=size_max))
    return Filter(function, draw(st.one_of(st.just(""), _words)), draw(_words), tuple(values))


@given(st.lists(_filters(), max_size=5))
def test_every_condition_survives_its_text(filters: list[Filter]) -> None:
    """Writing conditions down and parsing them again gives the same conditions."""
    assert parse_filters("+".join(map(str, filters))) == tuple(filters)


@given(st.text(max_size=60))
def test_no_text_escapes_the_error_family(text: str) -> None:
    """Arbitrary text gives conditions or INVALID_ARGUMENT, never another exception."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    try:
        parse_filters(text)
    except ApiError as error:
        code = error.code
    assert code is grpc.StatusCode.INVALID_ARGUMENT
