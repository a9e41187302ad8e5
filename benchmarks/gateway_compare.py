"""Whether a change makes the gateway faster: processor time of a request, two checkouts in turn.

    apt-get install nginx-light wrk
    .venv/bin/python benchmarks/gateway_compare.py ../before . [--connections 1 16] [--stream] [--rounds 8]

Both serve with all features (ledger, keys, budgets, prices) beside one nginx, as in benchmarks/gateway.py, and are
asked for a second each, A B A B. Other work on the machine disturbs the two of a round alike: the figure is the median
of the rounds' ratios, with the range of the middle half of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway import run_wrk, write_script
from gateway_servers import ask_once, nginx, routemoa


@contextmanager
def serve(checkout: Path, folder: Path, upstream: int, *, features: bool) -> Iterator[tuple[int, int]]:
    """Serve the code of a checkout; give the port and the process id."""
    folder.mkdir()
    os.environ["PYTHONPATH"] = str(checkout.resolve() / "src")
    with routemoa(folder, upstream, features=features) as (port, process):
        yield port, process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--connections", type=int, nargs="+", default=[16])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--bare", action="store_true", help="without ledger, keys, budgets and prices")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(nginx(folder))[args.stream]
        script = write_script(folder / "wrk.lua", stream=args.stream)
        servers = [
            stack.enter_context(serve(checkout, folder / side, upstream, features=not args.bare))
            for side, checkout in (("before", args.before), ("after", args.after))
        ]
        for port, _ in servers:
            ask_once(port, stream=args.stream)
            run_wrk(port, 16, 1, script)  # warm
        for connections in args.connections:
            rounds = [
                [run_wrk(port, connections, args.seconds, script, process) for port, process in servers]
                for _ in range(args.rounds)
            ]
            print_figures(connections, rounds)


def print_figures(connections: int, rounds: list[list[dict[str, float]]]) -> None:
    for figure in ("cpu_ms", "p50_ms"):
        before, after = (statistics.median(r[side][figure] for r in rounds) for side in (0, 1))
        ratios = [r[1][figure] / r[0][figure] for r in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4)
        spread = f"{middle - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%})"
        print(f"{connections:4} connections  {figure}  {before:7.3f} -> {after:7.3f}  {spread}", flush=True)
    print(f"{'':16}  load {rounds[0][0]['load']} to {rounds[-1][1]['load']}")


if __name__ == "__main__":
    main()
