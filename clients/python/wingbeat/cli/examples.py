"""Examples for the help of commands that answer questions of their own, by the command's name."""

EXAMPLES: dict[str, tuple[str, ...]] = {
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
}
