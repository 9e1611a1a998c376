"""Measurements of Wingbeat. Each module runs by `python -m loadtests.<name>` from the root of the repository, brings
what it needs (a Postgres of its own, fsync on), and prints one JSON object as its last line."""
