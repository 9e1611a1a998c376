"""What a client hands over as file, folder or table arrives in the task, and what the task makes comes back."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation


@pytest.fixture
def newest_client(installation: Installation) -> Iterator[Client]:
    """flytekit uploads by the client that was made last in the process, whichever is asked to."""
    client = Client(installation.endpoint)
    yield client
    client.close()


def test_uploads_and_downloads(newest_client: Client, tmp_path: Path) -> None:
    """flytekit uploads inputs through signed URLs; two tasks pass them on; the client reads the results."""
    file = tmp_path / "some text.txt"
    file.write_text("straße ✈", encoding="utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("a", encoding="utf-8")
    (folder / "b c.txt").write_text("b", encoding="utf-8")
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]})
    inputs = {"file": FlyteFile(str(file)), "folder": FlyteDirectory(str(folder)), "frame": frame}
    execution = succeeded(newest_client.run("files", "upper_wf", inputs))
    assert Path(execution.outputs.get("o0", FlyteFile).download()).read_text(encoding="utf-8") == "STRASSE ✈"
    found = Path(execution.outputs.get("o1", FlyteDirectory).download())
    texts = {str(path.relative_to(found)): path.read_text() for path in found.rglob("*") if path.is_file()}
    assert texts == {"below/below/a.txt": "A", "below/below/b c.txt": "B"}
    pd.testing.assert_frame_equal(execution.outputs.get("o2", pd.DataFrame), frame * 2)
