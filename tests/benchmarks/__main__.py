"""Measured comparisons: `python -m tests.benchmarks critic` (what `make benchmark` runs). None of them is a test."""

import argparse
from pathlib import Path

from pipelines.config import load_settings
from tests.benchmarks import critic_comparison

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", nargs="?", default="critic", choices=["critic"])
    parser.add_argument("--config", help="reasonmill.toml to use (default: as `reasonmill` finds it)")
    parser.add_argument("--problems", type=int, default=1000, help="frozen held-out problems, at most 1200")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, nargs="+", default=[8, 16, 32], help="sizes of best of n")
    parser.add_argument("--out", type=Path, default=RESULTS / "critic_comparison.json")
    arguments = parser.parse_args()
    settings = load_settings(arguments.config)
    critic_comparison.main(settings, arguments.problems, arguments.seeds, arguments.n, arguments.out)


if __name__ == "__main__":
    main()
