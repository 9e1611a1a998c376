"""Watch streams: transitions in commit order from a cursor, and waits for the ends of executions."""
