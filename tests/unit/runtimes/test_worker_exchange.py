"""What a child hands over in memory, and when it uploads instead."""

from pathlib import Path

from wingbeat.worker.wingbeat_task_child.exchange import INLINE_BYTES_MAX, Exchange
from wingbeat.worker.wingbeat_task_child.execution import Result


def test_inputs_that_came_with_the_task() -> None:
    """They are read where flytekit asks for them, and nothing else is."""
    exchange = Exchange(b"inputs", "/results")
    exchange.expect("s3://b/inputs.pb", "s3://b/0")
    assert not exchange.give("s3://b/other.pb", "/tmp/other.pb")
    assert exchange.give("s3://b/inputs.pb", "/tmp/inputs.pb")
    assert exchange.read("/tmp/inputs.pb") == b"inputs"
    assert exchange.read("/tmp/other.pb") is None
    assert not Exchange(None, "/results").give("", "/tmp/inputs.pb")


def settle(folder: Path, written: dict[str, bytes], *more: str) -> tuple[Result, list[str]]:
    """What becomes of results, and what lay in the folder when it was uploaded."""
    uploaded: list[str] = []
    exchange = Exchange(b"", str(folder))
    exchange.expect("s3://b/inputs.pb", "s3://b/0")
    for name, content in written.items():
        assert exchange.write(str(folder / name), content)
    assert not exchange.write("/elsewhere/outputs.pb", b"")
    for remote in more:
        assert not exchange.take("/tmp/deck.html", remote, list)
    assert exchange.take(str(folder), "s3://b/0", lambda: uploaded.extend(sorted(one.name for one in folder.iterdir())))
    result = Result()
    exchange.settle(result)
    return result, uploaded


def test_small_results_go_with_the_report(tmp_path: Path) -> None:
    """Outputs alone, or an error alone."""
    result, uploaded = settle(tmp_path, {"outputs.pb": b"o"})
    assert (result.outputs, result.error, result.files, uploaded) == (b"o", None, False, [])
    result, uploaded = settle(tmp_path, {"error.pb": b"e"})
    assert (result.outputs, result.error, result.files, uploaded) == (None, b"e", False, [])


def test_everything_else_is_uploaded(tmp_path: Path) -> None:
    """Large outputs, a workflow, offloaded values, and whatever comes with a deck."""
    for number, written in enumerate(
        (
            {"outputs.pb": b"x" * (INLINE_BYTES_MAX + 1)},
            {"futures.pb": b"f"},
            {"outputs.pb": b"o", "o0_offloaded_metadata.pb": b"v"},
            {"error-1234.pb": b"e"},
        )
    ):
        folder = tmp_path / str(number)
        result, uploaded = settle(folder, written)
        assert (result.outputs, result.error, result.files, uploaded) == (None, None, True, sorted(written))
    result, uploaded = settle(tmp_path / "deck", {"outputs.pb": b"o"}, "s3://b/0/deck.html")
    assert (result.outputs, result.files, uploaded) == (None, True, ["outputs.pb"])


def test_a_legacy_map_task_appends_its_index(tmp_path: Path) -> None:
    """Its results are results all the same."""
    exchange = Exchange(b"", str(tmp_path))
    exchange.expect("s3://b/inputs.pb", "s3://b/0")
    exchange.write(str(tmp_path / "outputs.pb"), b"o")
    assert exchange.take(str(tmp_path), "s3://b/0/7", list)
    result = Result()
    exchange.settle(result)
    assert result.outputs == b"o"


def test_a_task_that_leaves_nothing(tmp_path: Path) -> None:
    """What lies in the store is judged, as of a container that left nothing."""
    exchange = Exchange(b"", str(tmp_path))
    result = Result()
    exchange.settle(result)
    assert result.files
