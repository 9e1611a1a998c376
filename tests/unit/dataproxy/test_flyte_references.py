"""`flyte://` references: every form that clients use, and nothing else."""

import grpc
import pytest

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.services.flyte_references import FlyteReference, parse_reference

NODE = {"project": "p", "domain": "d", "execution": "e", "node": "n0-0_x"}


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("i", FlyteReference(**NODE, part="i")),
        ("o", FlyteReference(**NODE, part="o")),
        ("d", FlyteReference(**NODE, part="d")),
        ("0/o", FlyteReference(**NODE, part="o", attempt=0)),
        ("12/i/x", FlyteReference(**NODE, part="i", attempt=12, literal="x")),
        ("o/o0", FlyteReference(**NODE, part="o", literal="o0")),
        ("o/o", FlyteReference(**NODE, part="o", literal="o")),
    ],
)
def test_forms(tail: str, expected: FlyteReference) -> None:
    """Node or attempt, inputs, outputs or deck, all literals or one."""
    assert parse_reference(f"flyte://v1/p/d/e/n0-0_x/{tail}") == expected
    assert expected.node_id.execution_id.name == "e"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "flyte://",
        "flyte://v2/p/d/e/n/i",
        "flyte://v1/p/d/e/n",
        "flyte://v1/p/d/e/n/x",
        "flyte://v1/p/d/e/n/i/",
        "flyte://v1/p/d/e/n/i/a/b",
        "flyte://v1/p/d/e/n/1/d",
        "flyte://v1/p/d/e/n/d/x",
        "flyte://v1/p/d/e/n/-1/i",
        "flyte://v1/p/d/e/n/\u0661/i",
        "flyte://v1/p/d/e/n/99999999999/i",
        "flyte://v1/p/d/../n/i",
        "flyte://v1/p//e/n/i",
        "flyte://v1/p/d/e/n/i\n",
        "s3://bucket/key",
    ],
)
def test_refused(url: str) -> None:
    """Everything else is INVALID_ARGUMENT that names the field."""
    with pytest.raises(ApiError) as refused:
        parse_reference(url)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "flyte_url" in refused.value.message
