"""A program that knows the container contract but not flytekit: makes or sums a list of integers.

    raw_numbers.py make OUTPUT_PREFIX COUNT   writes {"numbers": [...]} with COUNT elements, a multiple of CYCLE
    raw_numbers.py sum INPUTS OUTPUT_PREFIX   reads {"numbers": [...]}, writes {"total": their sum modulo 2^31}

Millions of elements take flytekit minutes to convert; this takes seconds.
"""

import sys
from pathlib import Path

from flyteidl.core import literals_pb2

FIRST = 1 << 62
CYCLE = 1000
"""The numbers FIRST, FIRST + 1, ... repeat after so many."""
MODULUS = 1 << 31


def make(output_prefix: str, count: int) -> None:
    """Write a collection. Messages that are joined as bytes join their repeated fields, so one cycle is enough."""
    cycle = literals_pb2.LiteralCollection()
    for number in range(FIRST, FIRST + CYCLE):
        cycle.literals.add().scalar.primitive.integer = number
    collection = literals_pb2.LiteralCollection.FromString(cycle.SerializeToString() * (count // CYCLE))
    _write(output_prefix, {"numbers": literals_pb2.Literal(collection=collection)})


def add(inputs: str, output_prefix: str) -> None:
    """Sum a collection."""
    values = literals_pb2.LiteralMap.FromString(_path(inputs).read_bytes())
    total = sum(literal.scalar.primitive.integer for literal in values.literals["numbers"].collection.literals)
    primitive = literals_pb2.Primitive(integer=total % MODULUS)
    _write(output_prefix, {"total": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))})


def _write(output_prefix: str, values: dict[str, literals_pb2.Literal]) -> None:
    folder = _path(output_prefix)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outputs.pb").write_bytes(literals_pb2.LiteralMap(literals=values).SerializeToString())


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    else:
        add(sys.argv[2], sys.argv[3])
