"""What the catalog says of requests, as answers to clients (contract CP §13.4)."""

from collections.abc import Generator
from contextlib import contextmanager

import grpc

from wingbeat_catalog.errors import CatalogExistsError, CatalogNotFoundError, CatalogRequestError
from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument


@contextmanager
def catalog_answers() -> Generator[None]:
    """Turn errors of the catalog into ApiError."""
    try:
        yield
    except CatalogRequestError as error:
        raise invalid_argument(str(error)) from error
    except CatalogExistsError as error:
        raise already_exists(str(error)) from error
    except CatalogNotFoundError as error:
        raise ApiError(grpc.StatusCode.NOT_FOUND, str(error)) from error
