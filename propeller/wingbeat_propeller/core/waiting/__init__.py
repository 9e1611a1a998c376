"""Why nodes wait."""
