"""Bounds of batches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """Sizes in bytes, times in seconds."""

    manifest_bytes_max: int = 4 << 30
    """Largest manifest."""
    lease_s: float = 10.0
    """How long a batch waits for its driver before another server drives it."""
    tick_s: float = 0.1
    """How often the driver looks at a batch for which it had nothing to do."""
    flush_s: float = 2.0
    """How long the result of a row may wait for others to be written with."""
    driven_max: int = 64
    """Batches that one server drives at once."""
