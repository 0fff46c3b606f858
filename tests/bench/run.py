"""`make bench` and `make bench-quick`: load the wallet and pgbench in turn on one server and print the ratios."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Read the arguments and run; 1 when a book does not add up or an answer was wrong."""
    parser = argparse.ArgumentParser(description="Measure the wallet against pgbench TPC-B on this machine.")
    parser.add_argument("--quick", action="store_true", help="two short rounds, about two minutes; no memory case")
    parser.add_argument("--memory", action="store_true", help="only the memory of the web process, five minutes")
    parser.add_argument("--seconds", type=float, help="length of a round, instead of 10 (quick: 2.5)")
    parser.add_argument("--rounds", type=int, help="number of rounds, instead of 5 (quick: 2)")
    parser.add_argument("--only", help="a regular expression over the names of cases; pgbench runs always")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.bench.session import Length, run_session

    length = Length.quick() if arguments.quick else Length.full()
    return run_session(
        length.changed(arguments.seconds, arguments.rounds), arguments.only, memory_only=arguments.memory
    )


if __name__ == "__main__":
    sys.exit(main())
