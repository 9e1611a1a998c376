"""The environment of a child's process, from task to task."""

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from wingbeat.worker.wingbeat_task_child.environment import Environment


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    time.tzset()


def as_programs_see_it() -> bytes:
    """Variables of this process."""
    return subprocess.check_output(["/bin/sh", "-c", "echo $NAME$LEFT$SHARED"])


def test_each_task_finds_its_own() -> None:
    """And nothing that was there before, whether or not tasks change what they find."""
    environment = Environment({"SHARED": "s", "OVER": "shared"})
    assert dict(os.environ) == {"SHARED": "s", "OVER": "shared"}
    tasks = [{"NAME": "a"}, {"NAME": "b", "OVER": "b"}, {"OTHER": "c"}, {}, {"NAME": "d"}]
    for meddle in (False, True):
        for own in tasks:
            environment.begin(own)
            assert dict(os.environ) == {"SHARED": "s", "OVER": "shared"} | own
            assert environment.get("NAME") == own.get("NAME")
            assert environment.get("OVER") == own.get("OVER", "shared")
            if meddle:
                os.environ["LEFT"] = "x"
                os.environ["NAME"] = "other"
                del os.environ["SHARED"]
    assert as_programs_see_it() == b"otherx\n"
    environment.begin({})
    assert as_programs_see_it() == b"s\n"


def test_a_folder_of_code() -> None:
    """It is on the search path of all tasks that follow."""
    environment = Environment({"PYTHONPATH": "/a"})
    environment.add_to_search_path("/code")
    environment.begin({"NAME": "x"})
    assert os.environ["PYTHONPATH"] == f"/a{os.pathsep}/code"
    alone = Environment({})
    alone.add_to_search_path("/code")
    os.environ["PYTHONPATH"] = "/elsewhere"
    alone.begin({})
    assert dict(os.environ) == {"PYTHONPATH": "/code"}


def test_a_time_zone() -> None:
    """The process goes by that of its task."""
    environment = Environment({"TZ": "UTC"})
    assert time.timezone == 0
    environment.begin({"TZ": "Etc/GMT+5"})
    assert time.timezone == 5 * 3600
    environment.begin({})
    assert time.timezone == 0
