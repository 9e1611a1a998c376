"""Why an execution does not go on: the engine is asked, else the rows are read, and sentences are written."""
