"""Files, folders and tables in the store: handles that move data when they are used, and not before.

A handle that came out of a client knows how to read the store; one that was made by hand (`File("notes.txt")`,
`Directory("pictures")`, `DataFrame(frame)`) is an input, uploaded when something is launched with it. Methods whose
names do not end in `_async` block, and are for programs without an event loop.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (pyarrow has no types)

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wingbeat.errors import TransferError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Reader(Protocol):
    """What a client gives a handle to read with. Both raise TransferError, and ServerError when the server refuses."""

    async def read(self, uri: str) -> bytes:
        """The content of one object."""
        ...

    async def download(self, uri: str, target: Path) -> Path:
        """Write one object to a file."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """URIs of all objects below a prefix."""
        ...

    def block(self, coroutine: Any) -> Any:
        """Wait for one of the above outside of the event loop. Raises RuntimeError inside of it."""
        ...


class Handle:
    """Something in the store, or on its way there. Two handles are equal when they mean the same object."""

    __slots__ = ("_reader", "local", "uri")

    def __init__(
        self, local: str | Path | None = None, *, uri: str | None = None, reader: Reader | None = None
    ) -> None:
        if (local is None) == (uri is None):
            raise ValueError("name either a local path or the URI of something in the store")
        self.local = None if local is None else Path(local)
        self.uri = uri
        self._reader = reader

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self.local)!r})" if self.local else f"{type(self).__name__}(uri={self.uri!r})"
        )

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Handle)
        return (self.local, self.uri) == (other.local, other.uri)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.local, self.uri))

    def _read_with(self) -> tuple[Reader, str]:
        if self._reader is None or self.uri is None:
            raise TransferError(f"{self!r} did not come from a client, so there is nothing to read it with")
        return self._reader, self.uri


class File(Handle):
    """One file. `format` is its ending or kind, as the program that made it says (`csv`); often empty."""

    __slots__ = ("format",)

    def __init__(
        self,
        local: str | Path | None = None,
        *,
        uri: str | None = None,
        format: str = "",  # noqa: A002  (FlyteIDL's word)
        reader: Reader | None = None,
    ) -> None:
        super().__init__(local, uri=uri, reader=reader)
        self.format = format

    @property
    def name(self) -> str:
        """The last part of where it lies."""
        return self.local.name if self.local else (self.uri or "").rstrip("/").rpartition("/")[2]

    async def read_async(self) -> bytes:
        """The content."""
        if self.local is not None:
            return self.local.read_bytes()
        reader, uri = self._read_with()
        return await reader.read(uri)

    async def download_async(self, target: str | Path = ".") -> Path:
        """Write it to `target`, into it if that is a folder; the file's path."""
        reader, uri = self._read_with()
        return await reader.download(uri, await asyncio.to_thread(_place, Path(target), self.name))

    def read_bytes(self) -> bytes:
        """The content."""
        return self._read_with()[0].block(self.read_async()) if self.local is None else self.local.read_bytes()

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding)

    def download(self, target: str | Path = ".") -> Path:
        """Write it to `target`, into it if that is a folder; the file's path."""
        return self._read_with()[0].block(self.download_async(target))


class Directory(Handle):
    """A folder of files."""

    __slots__ = ("format",)

    def __init__(
        self,
        local: str | Path | None = None,
        *,
        uri: str | None = None,
        format: str = "",  # noqa: A002  (FlyteIDL's word)
        reader: Reader | None = None,
    ) -> None:
        super().__init__(local, uri=uri, reader=reader)
        self.format = format

    async def files_async(self) -> Mapping[str, File]:
        """Its files by their paths below it."""
        reader, uri = self._read_with()
        base = uri.rstrip("/") + "/"
        return {found.removeprefix(base): File(uri=found, reader=reader) for found in await reader.list(base)}

    async def download_async(self, target: str | Path) -> Path:
        """Write all its files below `target`, which is made; the same path."""
        path = await asyncio.to_thread(_made, Path(target))
        for name, file in (await self.files_async()).items():
            await file.download_async(await asyncio.to_thread(_inside, path, name))
        return path

    def files(self) -> Mapping[str, File]:
        """Its files by their paths below it."""
        return self._read_with()[0].block(self.files_async())

    def download(self, target: str | Path) -> Path:
        """Write all its files below `target`, which is made; the same path."""
        return self._read_with()[0].block(self.download_async(target))


class DataFrame(Handle):
    """A table. `columns` are names and types as far as the program that made it says them.

    Given a table of pandas or pyarrow instead of a path, it is an input. Reading needs pyarrow, and pandas for
    `to_pandas`; neither comes with Wingbeat.
    """

    __slots__ = ("columns", "format", "table")

    def __init__(
        self,
        table: object = None,
        *,
        uri: str | None = None,
        format: str = "parquet",  # noqa: A002  (FlyteIDL's word)
        columns: Mapping[str, str] | None = None,
        reader: Reader | None = None,
    ) -> None:
        local = table if isinstance(table, str | Path) else None
        super().__init__(local or (None if uri else "table"), uri=uri, reader=reader)
        self.table = None if local else table
        self.format = format
        self.columns = dict(columns or {})

    def __repr__(self) -> str:
        return super().__repr__() if self.table is None else f"DataFrame({type(self.table).__name__} in memory)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataFrame):
            return NotImplemented
        return super().__eq__(other) and self.table is other.table

    def __hash__(self) -> int:
        return hash((super().__hash__(), id(self.table)))

    async def to_arrow_async(self) -> "pa.Table":
        """As a table of pyarrow."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        reader, uri = self._read_with()
        parts = sorted(await reader.list(uri.rstrip("/") + "/")) or [uri]
        if self.format not in {"", "parquet"}:
            if self.format != "csv":
                raise TransferError(f"{self!r} is written as {self.format}, which only its own program reads")
            from pyarrow import csv

            return pa.concat_tables([csv.read_csv(pa.BufferReader(await reader.read(part))) for part in parts])
        return pa.concat_tables([pq.read_table(pa.BufferReader(await reader.read(part))) for part in parts])

    def to_arrow(self) -> "pa.Table":
        """As a table of pyarrow."""
        return self._read_with()[0].block(self.to_arrow_async())

    def to_pandas(self) -> "pd.DataFrame":
        """As a table of pandas."""
        return self.to_arrow().to_pandas()

    async def to_pandas_async(self) -> "pd.DataFrame":
        """As a table of pandas."""
        return (await self.to_arrow_async()).to_pandas()

    async def download_async(self, target: str | Path) -> Path:
        """Write the files it consists of below `target`, which is made; the same path."""
        reader, uri = self._read_with()
        if await reader.list(uri.rstrip("/") + "/"):
            return await Directory(uri=uri, reader=reader).download_async(target)
        path = await asyncio.to_thread(_made, Path(target))
        await File(uri=uri, reader=reader).download_async(path)
        return path

    def download(self, target: str | Path) -> Path:
        """Write the files it consists of below `target`, which is made; the same path."""
        return self._read_with()[0].block(self.download_async(target))


def _place(target: Path, name: str) -> Path:
    return target / name if target.is_dir() else target


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inside(folder: Path, name: str) -> Path:
    """A path below a folder, whose own folder is made. Raises TransferError for a name that would lead out of it."""
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise TransferError(f"{name!r} would lie outside of {folder}")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place
