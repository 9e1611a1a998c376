"""Kubernetes quantities: `500m` CPU, `1.5Gi` memory, `2e3`."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?", re.ASCII)
_SCALES: dict[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Decimal:
    """The amount in base units (cores, bytes). Raises ValueError for anything that Kubernetes would refuse."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity: expected a number with a suffix like m, k, M, G, Ki, Mi or Gi")
    number, suffix, exponent = match.groups()
    amount = Decimal(number)
    if suffix:
        return amount * _SCALES[suffix]
    return amount.scaleb(int(exponent)) if exponent else amount
