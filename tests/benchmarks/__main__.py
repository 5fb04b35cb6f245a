"""Measured comparisons, none of them a test.

`critic` (`make benchmark`), `recipes` and `starter` measure models; `readme` writes them down. The others, each told at
the head of its file, measure the machinery, the training of critics, and methods on recorded data (--data).
"""

import argparse
from pathlib import Path

from pipelines.config import load_settings
from tests.benchmarks import (
    agents,
    backfill,
    busy,
    changed_filter,
    cloud,
    critic_comparison,
    critic_scoring,
    curation,
    dagster_share,
    dataset_diff,
    duplicates,
    fresh_client,
    heads,
    judges,
    killed_night,
    label_cost,
    lineage,
    memory,
    overhead,
    packing,
    pairs,
    peer,
    prof_dial,
    prof_scale,
    publishing,
    readme,
    recipe_comparison,
    refinements,
    resume,
    starter_card,
    trainer_datasets,
    trustjudge,
    yields,
)
from tests.benchmarks.record import RESULTS

MODULES = {
    "overhead": overhead,
    "busy": busy,
    "peer": peer,
    "resume": resume,
    "dagster_share": dagster_share,
    "killed_night": killed_night,
    "backfill": backfill,
    "memory": memory,
    "judges": judges,
    "step_judges": judges,
    "label_cost": label_cost,
    "packing": packing,
    "heads": heads,
    "cloud": cloud,
    "pairs": pairs,
    "critic_scoring": critic_scoring,
    "yields": yields,
    "prof_dial": prof_dial,
    "trustjudge": trustjudge,
    "prof_scale": prof_scale,
    "publishing": publishing,
    "agents": agents,
    "refinements": refinements,
    "duplicates": duplicates,
    "curation": curation,
    "lineage": lineage,
    "trainer_datasets": trainer_datasets,
    "dataset_diff": dataset_diff,
    "fresh_client": fresh_client,
    "changed_filter": changed_filter,
}


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.benchmark is None:
        arguments = _parser().parse_args(["critic"])
    if arguments.out is not None and arguments.out.is_dir():
        arguments.out /= f"{arguments.benchmark}.json"
    if arguments.benchmark in MODULES:
        MODULES[arguments.benchmark].run(arguments)
        return
    settings, out = load_settings(arguments.config), arguments.out
    if arguments.benchmark == "starter":
        starter_card.main(settings, arguments.problems, out or RESULTS / "starter_card.json")
    elif arguments.benchmark == "recipes":
        out = out or RESULTS / "recipe_comparison.json"
        recipe_comparison.main(settings, arguments.problems, arguments.seeds, arguments.budgets, out)
    elif arguments.benchmark == "readme":
        readme.main(settings, arguments.demo_log)
    else:
        out = out or RESULTS / "critic_comparison.json"
        critic_comparison.main(settings, arguments.problems, arguments.seeds, arguments.n, out)


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__, formatter_class=plain)
    benchmarks = parser.add_subparsers(dest="benchmark")
    critic, recipes, starter = (benchmarks.add_parser(name) for name in ("critic", "recipes", "starter"))
    for of_models in (critic, recipes, starter):
        of_models.add_argument("--problems", type=int, default=1000, help="frozen held-out problems, at most 1200")
    for of_seeds in (critic, recipes):
        of_seeds.add_argument("--seeds", type=int, default=3)
    critic.add_argument("--n", type=int, nargs="+", default=[8, 16, 32], help="sizes of best of n")
    recipes.add_argument("--budgets", type=int, nargs="+", default=[400, 800, 1600], help="tokens per problem")
    benchmarks.add_parser("readme").add_argument("--demo-log", type=Path, help="what `make demo` printed")
    for name, module in MODULES.items():
        module.add_arguments(benchmarks.add_parser(name, description=module.__doc__, formatter_class=plain))
    for one in benchmarks.choices.values():
        one.add_argument(
            "--out", type=Path, help="JSON file for the numbers, or a folder for it; the tables go beside it"
        )
        one.add_argument("--config", help="reasonmill.toml to use (default: as `reasonmill` finds it)")
    return parser


if __name__ == "__main__":
    main()
