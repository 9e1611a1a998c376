"""Paths of a container that are replaced in a command line."""

import pytest

from wingbeat_propeller.container_files import ContainerFiles, CopilotJob, container_path, is_inside
from wingbeat_propeller.copilot.local_paths import Rewriting

REWRITING = Rewriting({"/var/inputs": "/w/in", "/var/outputs": "/w/out", "/var": "/w/var"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/var/inputs", "/w/in"),
        ("/var/inputs/", "/w/in/"),
        ("--from=/var/inputs/x", "--from=/w/in/x"),
        ("cat /var/inputs/a>/var/outputs/b; cd /var", "cat /w/in/a>/w/out/b; cd /w/var"),
        ('{"path": "/var/inputs/x"}', '{"path": "/w/in/x"}'),
        ("file:///var/inputs/x", "file:///w/in/x"),
        ("a:/var/inputs:/var/outputs", "a:/w/in:/w/out"),
        ("/var/inputs2", "/w/var/inputs2"),
        ("/mnt/var/inputs", "/mnt/var/inputs"),
        ("s3://bucket/var/inputs", "s3://bucket/var/inputs"),
        ("./var/inputs", "./var/inputs"),
        ("/var.txt", "/var.txt"),
        ("", ""),
    ],
)
def test_only_whole_paths_are_replaced(text: str, result: str) -> None:
    """A path is replaced where it stands as such, the longest one that fits; parts of other words stay."""
    assert REWRITING.text(text) == result


def test_command_and_environment() -> None:
    """Every argument and every value; names of variables stay."""
    assert REWRITING.argv(["sh", "-c", "ls /var/inputs"]) == ["sh", "-c", "ls /w/in"]
    assert REWRITING.env({"IN": "/var/inputs", "/var": "x"}) == {"IN": "/w/in", "/var": "x"}


def test_paths_of_templates() -> None:
    """Paths are absolute and normalized; none means the default, and the root is refused."""
    assert container_path("", "/var/flyte/inputs") == "/var/flyte/inputs"
    assert container_path("/var//inputs/./x/../", "") == "/var/inputs"
    assert container_path("data", "") == "/data"
    assert container_path("//data", "") == "/data"
    for path in ("/", "/..", "/x/.."):
        with pytest.raises(ValueError, match="root folder"):
            container_path(path, "")
    assert is_inside("/a/b", "/a")
    assert is_inside("/a", "/a")
    assert not is_inside("/ab", "/a")


def test_jobs_pass_as_json() -> None:
    """A job is read as it was written, bytes included."""
    files = ContainerFiles("/i", "/o", "yaml", "s3://b/inputs.pb", "s3://b/0", "s3://b/raw", b"\xff\x00", uploads=False)
    job = CopilotJob(
        files=files,
        folder="/f",
        paths="auto",
        program="/bin/sh",
        argv=["sh", "-c", "ü"],
        env={"A": "1"},
        store={"folder": "/blobs"},
    )
    assert CopilotJob.from_json(job.to_json()) == job
