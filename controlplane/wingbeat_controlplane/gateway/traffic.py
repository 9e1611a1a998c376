"""What the gateway counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class Traffic:
    """Requests by rpc and HTTP status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("wingbeat_http_requests", "REST calls answered", ("rpc", "status"), registry=registry)
        self._seconds = Histogram(
            "wingbeat_http_request_seconds",
            "From a REST call's headers to its answer",
            ("rpc",),
            registry=registry,
        )

    def count(self, rpc: str, *, status: int, seconds: float) -> None:
        """One request was answered; `rpc` is a name of ours, never text of a client, so that series stay few."""
        self._requests.labels(rpc, str(status)).inc()
        self._seconds.labels(rpc).observe(seconds)
