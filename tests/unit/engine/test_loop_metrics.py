"""Metrics without locks look to a scrape like those of prometheus_client."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from wingbeat_propeller.engine.loop_metrics import LoopCounter, LoopHistogram

BUCKETS = (0.001, 0.5, 1, 10)


def _lines(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_histogram() -> None:
    """Values on, between and above the bounds are told as the library's histogram tells them."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LoopHistogram("times", "Some times", BUCKETS, registry=ours)
    reference = Histogram("times", "Some times", buckets=BUCKETS, registry=theirs)
    for value in (0.0, 0.001, 0.0011, 0.75, 1, 3.5, 10, 11.25):
        mine.observe(value)
        reference.observe(value)
    assert _lines(ours) == _lines(theirs)


def test_counter() -> None:
    """Every known value of the label is told, as the library's counter does for labels that were touched."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = LoopCounter("events", "Some events", "event", ["Begin", "End"], registry=ours)
    reference = Counter("events", "Some events", ["event"], registry=theirs)
    reference.labels("Begin")
    reference.labels("End")
    for event in ("End", "End"):
        mine.inc(event)
        reference.labels(event).inc()
    assert _lines(ours) == _lines(theirs)
