"""A cache on the test's database, and tasks to ask it about."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import CatalogOptions, create_catalog_pool
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.ports.cache import CacheAsk, CachePut, CacheSource

SOURCE = CacheSource("p", "d", "exec", "n0", 0, -1, "7")
INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
TEXT = types_pb2.LiteralType(simple=types_pb2.STRING)
FILE = types_pb2.LiteralType(blob=types_pb2.BlobType())


@pytest.fixture
async def catalog_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """The catalog's own connections, patient with a busy machine."""
    pool = await create_catalog_pool(
        database_url, size_max=8, application_name="tests", lock_timeout_s=60, statement_timeout_s=60
    )
    try:
        yield pool
    finally:
        pool.terminate()


@pytest.fixture
async def hasty_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections that wait for locks a tenth of a second."""
    pool = await create_catalog_pool(database_url, size_max=2, application_name="tests", lock_timeout_s=0.1)
    try:
        yield pool
    finally:
        pool.terminate()


@pytest.fixture
def hasty_cache(hasty_pool: asyncpg.Pool, database_url: str, blobs: FolderBlobs) -> PostgresCache:
    """A cache over them."""
    return PostgresCache(hasty_pool, database_url, blobs)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """A store in a folder."""
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def open_cache(catalog_pool: asyncpg.Pool, database_url: str, blobs: FolderBlobs) -> Callable[..., PostgresCache]:
    """Makes caches, each as another process would have it."""

    def opened(**options: object) -> PostgresCache:
        return PostgresCache(catalog_pool, database_url, blobs, CatalogOptions(**options))  # type: ignore[arg-type]

    return opened


@pytest.fixture
def cache(open_cache: Callable[..., PostgresCache]) -> PostgresCache:
    """One cache."""
    return open_cache()


def task(
    name: str = "t",
    *,
    version: str = "1",
    outputs: dict[str, types_pb2.LiteralType] | None = None,
    inputs: dict[str, types_pb2.LiteralType] | None = None,
    ignored: tuple[str, ...] = (),
    task_version: str = "7",
) -> CachedTask:
    """A task from an integer to a text, unless told otherwise."""
    interface = interface_pb2.TypedInterface(
        inputs=_variables({"a": INTEGER} if inputs is None else inputs),
        outputs=_variables({"o0": TEXT} if outputs is None else outputs),
    )
    return CachedTask("p", "d", name, task_version, version, interface.SerializeToString(), ignored, True)


def _variables(types: dict[str, types_pb2.LiteralType]) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=literal_type) for name, literal_type in types.items()}
    )


def integer(value: int) -> literals_pb2.Literal:
    """A literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def text(value: str) -> literals_pb2.Literal:
    """A literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def file(uri: str, *, folder: bool = False) -> literals_pb2.Literal:
    """A literal."""
    kind = types_pb2.BlobType(dimensionality=types_pb2.BlobType.MULTIPART if folder else types_pb2.BlobType.SINGLE)
    blob = literals_pb2.Blob(uri=uri, metadata=literals_pb2.BlobMetadata(type=kind))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=blob))


def values(**literals: literals_pb2.Literal) -> bytes:
    """A serialized LiteralMap."""
    return literals_pb2.LiteralMap(literals=literals).SerializeToString()


def ask(of: CachedTask, **literals: literals_pb2.Literal) -> CacheAsk:
    """A call."""
    return CacheAsk(of, values(**literals))


def entry(of: CacheAsk, result: str, *, overwrite: bool = False, source: CacheSource = SOURCE) -> CachePut:
    """An entry with one text for outputs."""
    return CachePut(of, values(o0=text(result)), source, overwrite)
