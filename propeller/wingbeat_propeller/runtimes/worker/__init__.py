"""The worker runtime: tasks run in processes that hold a stream to this engine and keep the code loaded.

`pool.WorkerPool` satisfies `ports.Runtime` and `ports.Lanes`; `stream` serves the streams; `needs` decides who may run
what. The worker itself is part of the client (`wingbeat.worker`), since it runs wherever the user's code is.
"""
