"""Start a zygote: `python <this folder>/__main__.py <descriptor of the control socket>`."""

import os
import sys


def main() -> None:
    """Import the package by its place on disk, leaving no trace of that on the path that tasks will see."""
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from wingbeat_task_child.zygote import serve  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    del sys.path[0]
    serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
