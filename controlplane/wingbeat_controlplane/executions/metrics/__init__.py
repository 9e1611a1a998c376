"""Where the time of an execution went: GetExecutionMetrics, a tree of spans from the rows of nodes and attempts."""
