"""What callers of the catalog's services did wrong or asked in vain; texts are for them."""


class CatalogRequestError(ValueError):
    """The request lacks something, or holds what makes no sense. Nothing was changed."""


class CatalogNotFoundError(LookupError):
    """There is no such dataset, artifact, tag or output."""


class CatalogExistsError(ValueError):
    """There is one already, and it was left as it is."""
