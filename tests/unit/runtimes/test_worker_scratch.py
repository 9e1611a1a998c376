"""The folders of workers in the usual place for temporary files."""

from pathlib import Path

from wingbeat.worker.scratch import PREFIX, Scratch


def test_folders_of_killed_workers_are_swept(tmp_path: Path) -> None:
    """A worker that starts removes what nobody holds, and neither the folders of living workers nor those of others."""
    living, starting = Scratch(tmp_path), Scratch(tmp_path)
    stray, foreign, link = tmp_path / f"{PREFIX}stray", tmp_path / "tmpforeign", tmp_path / f"{PREFIX}link"
    for folder in (stray, foreign):
        (folder / "1" / "tmp").mkdir(parents=True)
    link.symlink_to(foreign)
    starting.sweep()
    assert sorted(tmp_path.iterdir()) == sorted([living.path, starting.path, foreign, link])
    assert list(foreign.iterdir())
    for scratch in (living, starting):
        scratch.remove()
    assert sorted(tmp_path.iterdir()) == sorted([foreign, link])
