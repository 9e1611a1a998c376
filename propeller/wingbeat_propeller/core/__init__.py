"""The pure core: no I/O, no clock, no randomness. `step(state, event)` returns what to write and what to do then."""
