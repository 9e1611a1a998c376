"""Examples for the help of commands: how they look, and those of commands whose module has none."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": (
        "wingbeat up",
        "wingbeat up --detach --data-dir ./scratch --grpc-port 0 --http-port 0",
        "wingbeat up --propellers 2 --workers 1 --database-url postgresql://user@host/wingbeat",
    ),
    "down": ("wingbeat down", "wingbeat down --data-dir ./scratch"),
    "status": ("wingbeat status", "wingbeat status --data-dir ./scratch"),
    "doctor": ("wingbeat doctor", "wingbeat doctor --data-dir ./scratch"),
    "history": (
        "wingbeat history a1b2c3 --at 5m",
        "wingbeat history a1b2c3 --at 2026-05-01T12:00:00 -o json",
    ),
    "why": ("wingbeat why a1b2c3", "wingbeat why a1b2c3 train -o yaml"),
    "recover": (
        "wingbeat recover a1b2c3 --watch",
        "wingbeat recover a1b2c3 --version v8 --rerun train --dry-run",
        "wingbeat recover a1b2c3 -o name",
    ),
    "lineage": ("wingbeat lineage a1b2c3", "wingbeat lineage a1b2c3 n0.o0 --down"),
    "sql": (
        "wingbeat sql 'select phase, count(*) from executions group by phase'",
        "echo 'select * from nodes limit 3' | wingbeat sql -o json -",
    ),
    "foretell": (
        "wingbeat foretell train --inputs '{\"epochs\": 3}'",
        "wingbeat foretell train --inputs '{\"epochs\": 3}' -o json",
    ),
    "erase": ("wingbeat erase a1b2c3 --dry-run", "wingbeat erase --label user=ada"),
    "gc": ("wingbeat gc --dry-run", "wingbeat gc --project flytesnacks"),
}


def epilog(*examples: str) -> str:
    """Examples as the end of a help; Rich keeps lines apart that have an empty one between them."""
    return "Examples:\n\n" + "\n\n".join(examples)
