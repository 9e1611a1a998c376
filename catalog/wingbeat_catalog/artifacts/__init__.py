"""Artifacts: outputs with a name, versions and partitions.

`partitions` says what partitions mean, `store` keeps artifacts, aliases and who used them, `registrar` makes artifacts
of the outputs that the journal has announced, `queries` finds the ones that inputs of launch plans ask for.
"""
