"""References in whatever bytes: what is referred to is found, and all that is found is text."""

import json

from flyteidl.core.literals_pb2 import Binary, Blob, Literal, LiteralCollection, LiteralMap, Scalar
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_controlplane.retention.owners import owner_of, references

BASE = "s3://b/t"
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)
_FOLDERS = st.one_of(
    st.builds("data/{}/{}".format, _NAMES, _NAMES),
    st.builds("cache/{}/{}.pb".format, _NAMES, _NAMES),
    st.builds("metadata/propeller/{}-{}".format, _NAMES, _NAMES),
    st.builds("metadata/admin/{}/{}/{}".format, _NAMES, _NAMES, _NAMES),
)
_DEEPER = st.sampled_from(["", "/", "/x/file", "/a b", "/\u00e9"])
_URIS = st.builds(lambda folder, deeper: (f"{BASE}/{folder}{deeper}", folder), _FOLDERS, _DEEPER)


@st.composite
def _literals(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """Serialized values that refer to folders, each with what may stand behind a URI in a literal."""
    folders: list[str] = []
    literals: dict[str, Literal] = {}
    for key in draw(st.lists(st.text(max_size=60), min_size=1, max_size=4, unique=True)):
        uri, folder = draw(_URIS)
        folders.append(folder)
        form = draw(st.sampled_from(["blob", "text", "list", "binary"]))
        if form == "blob":
            literal = Literal(scalar=Scalar(blob=Blob(uri=uri)))
        elif form == "text":
            literal = Literal(scalar=Scalar(primitive={"string_value": uri}))
        elif form == "list":
            literal = Literal(collection=LiteralCollection(literals=[Literal(scalar=Scalar(blob=Blob(uri=uri)))] * 2))
        else:
            literal = Literal(
                scalar=Scalar(binary=Binary(value=json.dumps({"path": uri}, ensure_ascii=False).encode()))
            )
        literal.hash = draw(st.text(max_size=50))
        literal.metadata.update(draw(st.dictionaries(st.text(max_size=60), st.text(max_size=60), max_size=2)))
        literals[key] = literal
    return LiteralMap(literals=literals).SerializeToString(), folders


@given(_literals(), st.binary(max_size=40), st.binary(max_size=40))
def test_what_is_referred_to_is_found(made: tuple[bytes, list[str]], before: bytes, after: bytes) -> None:
    """Of every URI in serialized values the folder is found, whatever stands around it."""
    data, folders = made
    assert set(folders) <= set(references(before + data + after, f"{BASE}/".encode()))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [f"{BASE}/".encode(), b"data/", b"cache/", b"metadata/propeller/", b"a/b/c", b"\0", b"\xff", b"/"]
            ),
        ),
        max_size=30,
    )
)
def test_what_is_found_is_text(pieces: list[bytes]) -> None:
    """Whatever bytes stand around the store's address, only folders that can be asked for come out: no NUL in them."""
    for folder in references(b"".join(pieces), f"{BASE}/".encode()):
        assert "\0" not in folder
        assert folder.encode().decode() == folder
        assert owner_of(f"{folder}/x") is not None
