"""Command lines of tasks as a child reads them."""

from wingbeat.worker.wingbeat_task_child.command_line import parse_fast, parse_task


def test_execute() -> None:
    """Options by name, in either form, and the loader's arguments."""
    line = [
        "/bin/pyflyte-execute",
        "--inputs",
        "i",
        "--output-prefix=o",
        "--resolver",
        "r",
        "--",
        "task-module",
        "m",
        "",
    ]
    command = parse_task(line)
    assert command is not None
    assert not command.is_map
    assert command.options == {"inputs": "i", "output_prefix": "o", "resolver": "r"}
    assert command.resolver_args == ["task-module", "m", ""]


def test_map_execute() -> None:
    """An empty list of bound inputs is an empty argument, and stays one."""
    line = [
        "pyflyte-map-execute",
        "--inputs",
        "i",
        "--output-prefix",
        "o",
        "--resolver",
        "r",
        "--",
        "vars",
        "",
        "resolver",
    ]
    command = parse_task(line)
    assert command is not None
    assert command.is_map
    assert command.resolver_args == ["vars", "", "resolver"]


def test_fast_execute() -> None:
    """The archive, the folder it is meant for, and the command inside."""
    line = [
        "pyflyte-fast-execute",
        "--additional-distribution",
        "s3://b/a.tar.gz",
        "--dest-dir",
        "/root",
        "--",
        "x",
        "y",
    ]
    command = parse_fast(line)
    assert command is not None
    assert command == ("s3://b/a.tar.gz", "/root", ["x", "y"])


def test_what_is_not_understood_is_left_to_flytekit() -> None:
    """Unknown options, missing ones, options among the arguments, values that are not there."""
    base = ["pyflyte-execute", "--inputs", "i", "--output-prefix", "o", "--resolver", "r"]
    assert parse_task([*base, "--test", "--", "a"]) is None
    assert parse_task([*base[:-2], "--", "a"]) is None
    assert parse_task([*base, "a", "--more"]) is None
    assert parse_task([*base, "--prev-checkpoint"]) is None
    assert parse_task(base) is None
    assert parse_fast(["pyflyte-fast-execute", "--dest-dir", "."]) is None
