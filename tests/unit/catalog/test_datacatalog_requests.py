"""What clients of DataCatalog say, as far as it needs no database."""

import pytest
from flyteidl.datacatalog import datacatalog_pb2 as dc

from wingbeat_catalog.catalog_metadata import EXECUTION_ATTEMPT
from wingbeat_catalog.datacatalog.metadata import source_of
from wingbeat_catalog.datacatalog.requests import page
from wingbeat_catalog.errors import CatalogRequestError


@pytest.mark.parametrize(
    ("text", "attempt"), [("3", 3), ("", 0), ("-1", 0), ("9" * 15, 2**31 - 1), ("9" * 5_000, 0), ("٣", 0)]
)
def test_attempts_of_sources(text: str, attempt: int) -> None:
    """What is no number of an attempt is none, however long it is."""
    assert source_of(dc.Metadata(key_map={EXECUTION_ATTEMPT: text}), dc.Metadata()).attempt == attempt


@pytest.mark.parametrize("token", ["x", "-1", "2147483648", "9" * 5_000])
def test_tokens(token: str) -> None:
    """What is no place in a list is refused."""
    with pytest.raises(CatalogRequestError, match="invalid token"):
        page(dc.PaginationOptions(token=token))
