"""Digests of structures, and differences between them in words."""

from flyteidl.core import tasks_pb2
from tests.unit.compiler.builders import INT, STR, compiled, interface, node, task, workflow

from wingbeat_propeller.compiler.digest import structure_diff, structure_digest


def test_digest_ignores_the_order_of_maps() -> None:
    """Messages that are equal have equal digests, whichever entry was set first."""
    first, second = tasks_pb2.TaskTemplate(), tasks_pb2.TaskTemplate()
    names = [f"key{index}" for index in range(50)]
    for name in names:
        first.config[name] = name
        first.interface.inputs.variables[name].type.CopyFrom(INT)
    for name in reversed(names):
        second.config[name] = name
        second.interface.inputs.variables[name].type.CopyFrom(INT)
    assert structure_digest(first) == structure_digest(second)
    assert len(structure_digest(first)) == 32
    second.config["key7"] = "other"
    assert structure_digest(first) != structure_digest(second)


def test_diff_names_what_changed() -> None:
    """Changed, added and removed values stand under their paths."""
    old, new = task("t", {"a": INT, "b": STR}), task("t", {"a": STR, "c": INT})
    old.metadata.runtime.version, new.metadata.runtime.version = "1.15", "1.16"
    assert structure_diff(old, new).split("\n") == [
        "/metadata/runtime/version:",
        "\t- 1.15",
        "\t+ 1.16",
        "/interface/inputs/variables/a/type/simple:",
        "\t- INTEGER",
        "\t+ STRING",
        "/interface/inputs/variables/b:",
        "\t- {'type': {'simple': 'STRING'}}",
        "/interface/inputs/variables/c:",
        "\t+ {'type': {'simple': 'INTEGER'}}",
    ]


def test_equal_messages_do_not_differ() -> None:
    """No change, no text."""
    assert structure_diff(task("t", {"a": INT}), task("t", {"a": INT})) == ""


def test_nodes_are_compared_by_id() -> None:
    """A node put in front does not make all others differ; a changed order is one line."""
    old = compiled(workflow([node("n1", a=1), node("n2", a=2)]))
    new = compiled(workflow([node("n0", a=0), node("n1", a=1), node("n2", a=3)]))
    diff = structure_diff(old, new)
    assert "/primary/template/nodes/n0:" in diff
    assert "/primary/template/nodes/n2/inputs/0/binding/scalar/primitive/integer:\n\t- 2\n\t+ 3" in diff
    assert "/nodes/n1" not in diff
    swapped = compiled(workflow([node("n2", a=2), node("n1", a=1)]))
    assert "/primary/template/nodes (order):" in structure_diff(old, swapped)


def test_long_differences_are_cut() -> None:
    """Neither many changes nor long values flood the answer."""
    old, new = task("t"), task("t", {f"v{index}": INT for index in range(500)})
    new.config["long"] = "x" * 100_000
    diff = structure_diff(old, new)
    assert len(diff) < 20_000
    assert structure_diff(task("t", {"a": INT}), tasks_pb2.TaskTemplate(interface=interface())) != ""
    many = tasks_pb2.TaskTemplate(config={str(index): "x" for index in range(500)})
    fewer = tasks_pb2.TaskTemplate(config={str(index): "y" for index in range(500)})
    assert structure_diff(many, fewer).endswith("... and more")
