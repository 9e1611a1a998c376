"""The copilot of raw containers: copies their inputs into files, runs the program, copies its outputs out.

One process an attempt, started by the runtime as `python -m wingbeat_propeller.copilot`, so nothing of it burdens the
engine, and whatever ends the attempt (abort, timeout, memory) ends copying as well. To the engine it is a program that
keeps the container contract: it leaves outputs.pb or error.pb in the attempt's output folder.

`layout`, `values_text`, `yaml_text`, `results` and `local_paths` are pure; `transfer` reads and writes stores,
`mounts` and `command` speak to the kernel, `run` is the order of things.
"""
