"""Flyte's artifact registry on the wire; see artifacts_pb2."""
