"""YAML that is written by hand, read by a real YAML parser."""

import pytest
import yaml

from wingbeat_propeller.copilot.yaml_text import yaml_text


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"x": 1, "y": -2.5, "z": 1e16, "tiny": 1e-7, "b": True, "n": None},
        {
            "words": [
                "a",
                "two words",
                "",
                "null",
                "Yes",
                "1",
                "1.5",
                "- x",
                "a: b",
                "#no",
                "'q'",
                'say "x"',
                "/var/in/x",
            ]
        },
        {"odd": ["tab\t", "line\nline", "\x00\x07", "\x85\u2028\ufeff", "ü ✈ 😀", "\\"]},
        {"empty": [], "none": {}, "deep": {"list": [[1, [2]], {"k": {"l": []}}], "off": {"no": 1}}},
        {"": 1, "a b": 2, "1": 3, "true": 4},
    ],
)
def test_round_trip(value: object) -> None:
    """What is read is what was written."""
    assert yaml.safe_load(yaml_text(value)) == value


def test_lines_are_easy_to_find() -> None:
    """Simple values stand behind their names in block style."""
    assert yaml_text({"count": 3, "name": "ada", "parts": ["/x/0"]}) == "count: 3\nname: ada\nparts:\n  - /x/0\n"
