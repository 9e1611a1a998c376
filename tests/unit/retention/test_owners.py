"""To whom blobs belong."""

import pytest
from flyteidl.core.literals_pb2 import Blob, Literal, LiteralMap, Scalar

from wingbeat.cli.garbage import parse_span
from wingbeat.cli.sizes import show_bytes
from wingbeat_controlplane.retention.owners import (
    Owner,
    OwnerKind,
    array_name,
    belongs_to_project,
    execution_names,
    owner_of,
    references,
)
from wingbeat_controlplane.retention.places import Places
from wingbeat_propeller.core.ids import element_name, generated_name


@pytest.mark.parametrize(
    ("key", "kind", "folder"),
    [
        ("data/ab/e-n0-0/x/file", OwnerKind.RAW, "data/ab/e-n0-0"),
        ("metadata/propeller/p-d-e/n0/data/inputs.pb", OwnerKind.METADATA, "metadata/propeller/p-d-e"),
        ("metadata/admin/p/d/e/inputs", OwnerKind.ADMIN, "metadata/admin/p/d/e"),
        ("metadata/admin/p/d/root/deep/file.tar.gz", OwnerKind.ADMIN, "metadata/admin/p/d/root"),
        ("cache/ab/id.pb", OwnerKind.CACHE, "cache/ab/id.pb"),
    ],
)
def test_owners(key: str, kind: OwnerKind, folder: str) -> None:
    """What Wingbeat names has an owner."""
    assert owner_of(key) == Owner(kind, folder, folder.rpartition("/")[2])


@pytest.mark.parametrize(
    "key", ["", "x", "data/x", "data/ab/file", "data//x/y", "my/data/ab/n/x", "metadata/other/x/y/z"]
)
def test_what_belongs_to_nobody(key: str) -> None:
    """What Wingbeat has not named is never garbage."""
    assert owner_of(key) is None


def test_references_in_values() -> None:
    """Every place that a value refers to is found, whatever follows it and in whatever form it stands."""
    literals = {
        "file": Literal(scalar=Scalar(blob=Blob(uri="s3://b/data/ab/one/x2"))),
        "text": Literal(scalar=Scalar(primitive={"string_value": "--at=s3://b/metadata/admin/p/d/up/f.gz, s3://b/"})),
        "other": Literal(scalar=Scalar(blob=Blob(uri="s3://bb/data/ab/two/x"))),
    }
    data = LiteralMap(literals=literals).SerializeToString() + b'{"uri": "s3://b/data/cd/three/x"}\xff'
    assert set(references(data, b"s3://b/")) == {"data/ab/one", "metadata/admin/p/d/up", "data/cd/three"}


@pytest.mark.parametrize(
    "after",
    [
        b"\0\0/\0x",
        b"\x1a\x02/",
        b"\n\x04ab/c",
        b'"}, "/"',
        b"\xff/x",
        b"",
        b"/",
        b"*\x05x",
        b"2/\n\x04",
        b"**",
        b"Z+\n/x",
    ],
)
def test_reference_to_a_folder_itself(after: bytes) -> None:
    """A folder that is referred to without a file in it is found, whatever follows, also what looks like its name."""
    data = b"\x08\x01s3://b/data/ab/one" + after
    found = set(references(data, b"s3://b/"))
    assert "data/ab/one" in found
    assert all(folder.startswith("data/ab/o") and len(folder) <= len("data/ab/one") + 2 for folder in found)


def test_no_key_holds_a_nul() -> None:
    """What was cut out of binary data is nobody's: it could not even be asked for."""
    assert owner_of("data/ab/o\0ne/x") is None


def test_projects() -> None:
    """Folders of metadata tell their project; raw data does not."""
    assert [
        belongs_to_project(found, "p")
        for key in (
            "metadata/propeller/p-d-e/x",
            "metadata/propeller/pq-d-e/x",
            "metadata/admin/p/d/e/inputs",
            "metadata/admin/q/d/e/inputs",
            "data/ab/n/x",
        )
        if (found := owner_of(key))
    ] == [True, False, True, False, None]


def test_names() -> None:
    """From an attempt's name to those of its execution and its array."""
    assert "my-exec" in execution_names(generated_name("my-exec", "n0", 0))
    array = generated_name("my-exec", "n0", 0)
    assert array_name(element_name(array, 17, 2)) == array
    assert array_name("my-exec-train-0") == "my-exec-train-0"
    assert array_name("odd") == "odd"


def test_places() -> None:
    """Raw data lies below the prefix that the execution names, else below the store's own."""
    own = Places.of("/s", 7, "p", "d", "e", b"")
    assert own.attempt("e-n0-0").raw_folder.startswith("/s/data/")
    assert own.attempt("e-n0-0").log_name == "e-n0-0-7"
    assert not own.has_raw_data_outside
    from flyteidl.admin.matchable_resource_pb2 import WorkflowExecutionConfig

    config = WorkflowExecutionConfig()
    config.raw_output_data_config.output_location_prefix = "s3://elsewhere/x/"
    other = Places.of("/s", 7, "p", "d", "e", config.SerializeToString())
    assert other.has_raw_data_outside
    assert other.attempt("n").raw_folder.startswith("s3://elsewhere/x/")
    assert [found.log_name for found in own.elements("n1", 1, 3, 0)] == ["e-n1-0-n3-0-7", "e-n1-1-n3-0-7"]


def test_texts() -> None:
    """Ages and sizes as people write and read them."""
    spans = [parse_span(text) for text in ("12h", "30d", "2w", "x", "")]
    assert [None if span is None else span.total_seconds() / 3600 for span in spans] == [12, 720, 336, None, None]
    assert [show_bytes(count) for count in (0, 999, 1024, 5 << 20, 1 << 60)] == [
        "0 B",
        "999 B",
        "1 KiB",
        "5 MiB",
        "1.02e+03 PiB",
    ]
