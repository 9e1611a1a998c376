"""The worker: a process that keeps the code of tasks loaded and runs what engines push to it (`wingbeat worker`)."""
