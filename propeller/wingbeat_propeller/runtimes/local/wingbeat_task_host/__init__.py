"""The task host: a small process that forks the processes of tasks and outlives the engine that asked for them.

It runs under the interpreter of the user's environment, where nothing of Wingbeat is installed, so this package uses
the standard library of Python 3.9 alone and imports itself relatively. `server` is its loop, `child` what a forked
process does, `flytekit_entry` runs flytekit's own programs without a second interpreter, `record` keeps on disk which
attempt runs and how it ended, `processes` reads /proc, `messages` is the conversation with the engine.
"""
