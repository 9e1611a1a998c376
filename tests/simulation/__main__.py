"""`python -m tests.simulation --seed N [--trace]` replays one world; `--count M` runs the M worlds from there on."""

import argparse
import sys
import time
import traceback

from tests.simulation.world import World


def main() -> int:
    """Run worlds; returns how many of them broke a promise, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print what happens")
    options = parser.parse_args()
    began = time.perf_counter()
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        world = World(seed, trace=print if options.trace else None)
        try:
            world.run()
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
            if options.trace:
                traceback.print_exc()
            else:
                print(f"    python -m tests.simulation --seed {seed} --trace")
    took = time.perf_counter() - began
    print(f"{options.count} worlds in {took:.2f} s, {failed} broke a promise", file=sys.stderr)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
