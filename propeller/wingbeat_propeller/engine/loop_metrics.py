"""Metrics of things that happen for every event, so often that those of prometheus_client would show in the profile:
they take a lock for each number. These are plain numbers, counted by the one thread of the event loop and read by
whichever thread scrapes; a scrape may see one observation half.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class LoopHistogram(Collector):
    """A histogram without labels. `buckets` are upper bounds in rising order; one without bound is added."""

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = list(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, number in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += number
            buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), total))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class LoopCounter(Collector):
    """A counter with one label, whose values are known from the start."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label: str,
        values: Iterable[str],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._counts = dict.fromkeys(values, 0)
        registry.register(self)

    def inc(self, value: str) -> None:
        """Count one. Raises KeyError for a value that is not known."""
        self._counts[value] += 1

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, number in self._counts.items():
            family.add_metric([value], number)
        yield family
