"""What every curation method keeps, weighs or chooses on the samples of a lake: its yield, and its effect on flaws.

Filters judge all rollouts of groups alone, with the critic's scores. Effect: the share of flawed solutions (a wrong
step by the generator's own rules) among the right answers, before and after. Numbers that the catalogue quotes come
from here. The lake is only read.
"""

import argparse
import tempfile
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.budget import PassCount, expected_value
from pipelines.catalogue import METHODS
from pipelines.config import ConsistencyMethodConfig, load_settings
from pipelines.consistency.filters import OwnInputs, filter_of, judge_in_turn, judging_methods
from pipelines.consistency.scorer import required_scorer_version
from pipelines.curation import Curation
from pipelines.lake import Lake
from pipelines.records import stable_digest
from pipelines.tables import SCHEMAS
from pipelines.warehouse import Warehouse
from tests.benchmarks.record import heading, provenance, save, table

PARAMETERS: dict[str, dict[str, object]] = {  # where the paper's defaults are for other lengths and sizes
    "overlong": {"max_tokens": 128, "num_buffer_tokens": 25},
    "raft": {"max_per_group": 4},
    "b_star": {"threshold": 1.1},
}
NO_INPUT = SCHEMAS["rollouts"].empty_table()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> None:
    """Measure, save and show."""
    lake = Lake(load_settings(arguments.config).lake_url)
    samples = _samples(lake)
    flawed = _flawed(lake)
    names = [name for name, curation in judging_methods().items() if not _needs_more(name, curation)]
    filters = {name: _filter_yield(name, samples, flawed) for name in names}
    others = _other_yields(lake, samples)
    result = provenance() | {
        "num_rollouts": samples.num_rows,
        "num_groups": len(pc.unique(samples["group_id"])),
        "all": _composition(samples, flawed, pc.is_valid(samples["rollout_id"])),
        "filters": filters,
        "others": others,
    }
    save("yields", arguments.out, result, _markdown(result))


def _needs_more(name: str, curation: Curation) -> bool:
    """Whether a parameter has neither a default nor a value here, such as the benchmark texts of `contamination`."""
    required = {key for key, info in curation.params.model_fields.items() if info.is_required()}
    return not required <= set(PARAMETERS.get(name, {}))


def _samples(lake: Lake) -> pa.Table:
    rollouts, step_scores = lake.read("rollouts"), lake.read("step_scores")
    version = required_scorer_version(step_scores, "critic")
    with Warehouse.over({"rollouts": rollouts, "step_scores": step_scores}) as warehouse:
        samples = warehouse.named("consistent_rollouts/samples", source="critic", scorer_version=version)
    return samples.filter(pc.is_null(samples["exclusion"])).combine_chunks()


def _flawed(lake: Lake) -> dict[str, bool]:
    """Rollout -> whether one of its steps is wrong, for rollouts with gold steps."""
    rows = lake.read("gold_steps").group_by("rollout_id").aggregate([("is_right", "min")])
    return {name: not right for name, right in zip(*(column.to_pylist() for column in rows.columns), strict=True)}


def _composition(samples: pa.Table, flawed: dict[str, bool], kept: pa.ChunkedArray) -> dict[str, float | int | None]:
    """Rows, share of right answers among them, and of flawed ones among the right answers with gold steps."""
    rows = samples.filter(kept)
    right = rows.filter(pc.fill_null(pc.equal(rows["outcome_reward"], 1.0), False))["rollout_id"].to_pylist()
    gold = [flawed[name] for name in right if name in flawed]
    return {
        "num_rows": rows.num_rows,
        "right_share": len(right) / rows.num_rows if rows.num_rows else None,
        "num_right_with_gold": len(gold),
        "flawed_share": sum(gold) / len(gold) if gold else None,
    }


def _filter_yield(name: str, samples: pa.Table, flawed: dict[str, bool]) -> dict[str, object]:
    parameters = PARAMETERS.get(name, {})
    method = ConsistencyMethodConfig(name=name, parameters=parameters)
    decisions = judge_in_turn(samples, (filter_of(method, None, OwnInputs(NO_INPUT, NO_INPUT)),))
    reasons = Counter(decisions["reason"].drop_null().to_pylist())
    return {
        "parameters": parameters,
        "reasons": dict(sorted(reasons.items())),
        **_composition(samples, flawed, decisions["kept"]),
    }


def _apply(name: str, rows: pa.Table, **parameters: object) -> pa.Table:
    curation = METHODS[name].curation
    numbered = rows.set_column(0, "position", pa.array(range(rows.num_rows), pa.int64()))
    for column in curation.reads:
        if column.name not in numbered.column_names:
            numbered = numbered.append_column(column.name, pa.nulls(rows.num_rows, column.kind))
    return curation.run(numbered, curation.params(**parameters))


def _other_yields(lake: Lake, samples: pa.Table) -> dict[str, dict[str, object]]:
    """One summary for each method that adds columns or has rows of its own, and can be run on the lake's samples."""
    counts = _counts(samples)
    advantages = _apply("group_advantages", samples)["advantage"]
    found: dict[str, dict[str, object]] = {}
    for name in ("group_advantages", "lite_ppo_advantages", "unlikeliness"):
        values = _apply(name, samples)["advantage"].drop_null()
        informative = pc.sum(pc.greater(pc.abs(values), 1e-9)).as_py()
        found[name] = {"num_rows": len(values), "share_with_advantage": informative / len(values)}
    copo = _apply("copo", samples)
    found["copo"] = {
        "mean_entropy": pc.mean(copo["consistency_entropy"]).as_py(),
        "mean_local_weight": pc.mean(copo["local_weight"]).as_py(),
    }
    found["blend"] = {"mean_blended_reward": pc.mean(_apply("blend", samples)["blended_reward"]).as_py()}
    weights = _apply("delta_l", samples)["length_weight"].drop_null()
    found["delta_l"] = {"min_weight": pc.min(weights).as_py(), "max_weight": pc.max(weights).as_py()}
    knapsack = _apply("knapsack", counts)["num_rollouts"]
    found["knapsack"] = {
        "num_problems": counts.num_rows, "min": pc.min(knapsack).as_py(), "max": pc.max(knapsack).as_py(),
        "total": pc.sum(knapsack).as_py(),
        "value_uniform": _total_value(counts, [8] * counts.num_rows),
        "value_knapsack": _total_value(counts, knapsack.to_pylist()),
    }  # fmt: skip
    difficulty = _apply("difficulty", counts)
    found["difficulty"] = {"num_problems": counts.num_rows, "num_kept": pc.sum(difficulty["kept"]).as_py()}
    adcl = _apply("adcl", counts)
    hardness = pa.table({"batch": adcl["batch"], "difficulty": adcl["difficulty"]}).group_by("batch")
    means = hardness.aggregate([("difficulty", "mean")]).sort_by("batch")
    found["adcl"] = {"mean_difficulty_per_batch": means["difficulty_mean"].to_pylist()}
    arms = _arms(lake, samples, advantages)
    for name in ("dump", "sec"):
        rows = _apply(name, arms).to_pylist()
        found[name] = {row["arm"]: row["weight"] for row in rows}
    pool = samples.append_column("temperature", pa.array([1.0] * samples.num_rows))
    search = _apply("b_star_search", pool, sample_counts=(2, 4, 8), num_wanted=4).to_pylist()
    best = next(row for row in search if row["is_best"])
    found["b_star_search"] = {"num_configurations": len(search), "num_wanted": 4, **best}
    entropies = lake.read("token_scores", columns=["rollout_id", "token_entropies"])
    if entropies.num_rows:
        places = pc.index_in(samples["rollout_id"], entropies["rollout_id"])
        tokens = samples.append_column("advantage", advantages)
        tokens = tokens.append_column("token_entropies", entropies["token_entropies"].take(places))
        flat = pc.list_flatten(_apply("d3s_tokens", tokens)["token_mask"])
        found["d3s_tokens"] = {"num_tokens": len(flat), "num_kept": pc.sum(flat).as_py()}
    certainties = lake.read("token_scores", columns=["rollout_id", "self_certainty"])
    if certainties.num_rows:
        places = pc.index_in(samples["rollout_id"], certainties["rollout_id"])
        rows = samples.append_column("self_certainty", certainties["self_certainty"].take(places))
        for name, power in (("self_certainty_votes", 0.5), ("majority (power 0)", 0.0)):
            elected = samples.filter(_apply("self_certainty_votes", rows, power=power)["is_elected"])
            found[name] = {"num_groups": elected.num_rows, "right_share": pc.mean(elected["outcome_reward"]).as_py()}
    strategies = _apply("policy_filtration_search", samples).to_pylist()
    found["policy_filtration_search"] = {
        f"R^2 of {row['strategy']}{' (chosen)' if row['is_chosen'] else ''}": row["r_squared"] for row in strategies
    }
    found["data_shapley"] = _flipped_labels(samples)
    return (
        found
        | _critics_learn(lake)
        | _texts(lake, samples)
        | {"length_control, by the critic": _length_control(samples)}
    )


def _flipped_labels(samples: pa.Table, num_rows: int = 120, num_flipped: int = 12) -> dict[str, object]:
    """Does data Shapley find labels that were turned round? Features: mean and lowest step score, number of steps."""
    rows = [
        {"row_id": row["rollout_id"], "group_id": row["rollout_id"],
         "label": "right" if row["outcome_reward"] == 1.0 else "wrong",
         "features": [sum(row["step_values"]) / len(row["step_values"]), min(row["step_values"]),
                      len(row["step_values"]) / 10]}
        for row in samples.select(["rollout_id", "outcome_reward", "step_values"]).to_pylist()
        if row["step_values"] and row["outcome_reward"] is not None
    ]  # fmt: skip
    drawn = sorted(rows, key=lambda row: stable_digest("shapley", row["row_id"]))[: 2 * num_rows]
    flipped = {row["row_id"] for row in drawn[:num_flipped]}
    turned = {"right": "wrong", "wrong": "right"}
    told = [
        row | {"is_validation": i >= num_rows, "label": turned[row["label"]] if i < num_flipped else row["label"]}
        for i, row in enumerate(drawn)
    ]
    columns = {"features": pa.list_(pa.float64()), "is_validation": pa.bool_()}
    arrays = {name: pa.chunked_array([pa.array([row[name] for row in told], columns.get(name, pa.string()))])
              for name in told[0]}  # fmt: skip
    made = _decided("data_shapley", arrays, max_orders=300)
    scored = [(score, row["row_id"]) for score, row in zip(made["score"].to_pylist(), told, strict=True)
              if score is not None]  # fmt: skip
    lowest = {name for _, name in sorted(scored)[:num_flipped]}
    first = made.filter(pc.is_valid(made["score"])).slice(0, 1).to_pylist()[0]
    return {
        "num_rows": num_rows, "num_flipped": num_flipped, "flipped among as many lowest": len(lowest & flipped),
        "num_orders": first["num_orders"], "is_converged": first["is_converged"],
        "max_standard_error": pc.max(made["standard_error"]).as_py(),
        "num_low_value": made["reason"].to_pylist().count("low_value"),
    }  # fmt: skip


def _critics_learn(lake: Lake) -> dict[str, dict[str, object]]:
    """What the methods for critics and judges make of the lake's critiques, refinements, samples and pairs."""
    tables = ("problems", "rollouts", "critiques", "verdicts", "refinements")
    with Warehouse.over({name: lake.read(name) for name in tables}) as warehouse:
        said = warehouse.named("training_sets/said")
        answers = warehouse.named("training_sets/graded_answers", separator="\n")
    judged = {"rollout_id": said["rollout_id"], "critique": said["text"], "verdict": said["verdict"],
              "original_reward": said["outcome_reward"], "refinement_rewards": said["refinement_rewards"]}  # fmt: skip
    judgments = {"item_id": said["rollout_id"], "judgment_id": said["critique_id"], "critique": said["text"],
                 "verdict": said["verdict"], "label": said["label"]}  # fmt: skip
    found: dict[str, dict[str, object]] = {}
    for name in ("critique_rl", "ref_critic", "critique_label_match"):
        made = _decided(name, judged)
        reasons = Counter(made["reason"].drop_null().to_pylist())
        found[name] = {"num_rows": made.num_rows, "mean_reward": pc.mean(made["reward"]).as_py(), **reasons}
    for balanced in (True, False):
        found[f"ctrl, {'balanced' if balanced else 'as it is'}"] = _reasons("ctrl", judged, balanced=balanced)
    found["kept_rationales"] = _reasons("kept_rationales", judgments)
    kinds = _decided("judgment_pairs", judgments)["kind"].to_pylist()
    found["judgment_pairs"] = {"num_judgments": said.num_rows, **Counter(kinds)}
    columns = {name: answers[name] for name in answers.column_names if name != "position"}
    kinds = _decided("recycled_rollouts", columns)["kind"].to_pylist()
    found["recycled_rollouts"] = {"num_rollouts": answers.num_rows, **Counter(kinds)}
    pairs = lake.read("preference_pairs")
    found["preference_prompts"] = _reasons(
        "preference_prompts", {name: pairs[name] for name in ("problem_id", "prompt", "chosen", "rejected")}
    )
    return found


def _texts(lake: Lake, samples: pa.Table) -> dict[str, dict[str, object]]:
    """What is there twice, and which training problems overlap with the frozen ones."""
    problems = lake.read("problems", columns=["problem_id", "prompt", "split", "is_evaluation"])
    frozen = problems.filter(problems["is_evaluation"])["prompt"]
    train = problems.filter(pc.equal(problems["split"], "train"))["prompt"]
    statements = {"text_id": problems["problem_id"], "text": problems["prompt"]}
    found: dict[str, dict[str, object]] = {}
    found["minhash_duplicates of statements"] = _reasons("minhash_duplicates", statements, unit="characters")
    found["step_duplicates"] = _reasons(
        "step_duplicates", {"rollout_id": samples["rollout_id"], "steps": samples["steps"]}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/frozen.parquet"
        pq.write_table(pa.table({"question": frozen}), path)
        for name, texts in (("training problems", train), ("frozen problems, a control", frozen)):
            rows = _decided("contamination", {"text": texts}, benchmark=(path,))
            overlaps = rows.num_rows - pc.sum(rows["kept"]).as_py()
            tested = pc.sum(rows["is_tested"]).as_py()
            found[f"contamination, {name}"] = {
                "num_rows": rows.num_rows, "num_tested": tested, "num_overlapping": overlaps
            }  # fmt: skip
    return found


def _decided(name: str, columns: dict[str, pa.ChunkedArray], **parameters: object) -> pa.Table:
    rows = pa.table({"position": pa.nulls(len(next(iter(columns.values())))), **columns})
    return _apply(name, rows, **parameters)


def _reasons(name: str, columns: dict[str, pa.ChunkedArray], **parameters: object) -> dict[str, object]:
    rows = _decided(name, columns, **parameters)
    counts = Counter(rows["reason"].drop_null().to_pylist())
    return {"num_rows": rows.num_rows, **dict(sorted(counts.items()))}


def _length_control(samples: pa.Table) -> dict[str, object]:
    """The critic's mean step score as judge of the first two different samples of a problem, by rollout id."""
    groups: dict[str, dict[str, float]] = {}
    for row in samples.sort_by("rollout_id").select(["problem_id", "steps", "step_values"]).to_pylist():
        if row["steps"] and row["step_values"]:
            mean = sum(row["step_values"]) / len(row["step_values"])
            groups.setdefault(row["problem_id"], {}).setdefault("\n".join(row["steps"]), mean)
    pairs = [list(group.items())[:2] for _, group in sorted(groups.items()) if len(group) > 1]
    preferences = [0.5 + 0.5 * ((one > other) - (one < other)) for (_, one), (_, other) in pairs]
    columns = {
        "preference": pa.array(preferences, pa.float64()),
        "num_chars_first": pa.array([len(text) for (text, _), _ in pairs], pa.int64()),
        "num_chars_second": pa.array([len(text) for _, (text, _) in pairs], pa.int64()),
    }
    row = _decided("length_control", columns).to_pylist()[0]
    return {name: row[name] for name in ("num_rows", "win_rate", "lc_win_rate", "low", "high", "phi")}


def _counts(samples: pa.Table) -> pa.Table:
    graded = samples.filter(pc.is_valid(samples["outcome_reward"]))
    rows = graded.group_by("problem_id").aggregate([("outcome_reward", "sum"), ("outcome_reward", "count")])
    rows = rows.sort_by("problem_id")
    return pa.table(
        {
            "position": pa.array(range(rows.num_rows), pa.int64()),
            "problem_id": rows["problem_id"],
            "num_right": rows["outcome_reward_sum"].cast(pa.int64()),
            "num_tried": rows["outcome_reward_count"].cast(pa.int64()),
        }
    )


def _total_value(counts: pa.Table, shares: list[int]) -> float:
    """What the method maximises: the sum of the expected values of these numbers of rollouts."""
    seen = zip(counts["num_right"].to_pylist(), counts["num_tried"].to_pylist(), strict=True)
    return sum(expected_value(share, PassCount(*one)) for share, one in zip(shares, seen, strict=True))


def _arms(lake: Lake, samples: pa.Table, advantages: pa.ChunkedArray) -> pa.Table:
    """Problem families as arms, one batch."""
    problems = lake.read("problems", columns=["problem_id", "family"])
    family = dict(zip(*(column.to_pylist() for column in problems.columns), strict=True))
    arm = pa.array([family.get(name) for name in samples["problem_id"].to_pylist()], pa.string())
    batch = pa.array([1] * samples.num_rows, pa.int64())
    return pa.table({"position": samples["position"], "arm": arm, "advantage": advantages, "batch": batch})


def _markdown(result: dict) -> list[str]:
    whole = result["all"]
    rows = [
        [name, _shown(one["parameters"]), f"{one['num_rows']:,}", _share(one["num_rows"] / whole["num_rows"]),
         _share(one["right_share"]), _share(one["flawed_share"]), _shown(one["reasons"])]
        for name, one in result["filters"].items()
    ]  # fmt: skip
    size = f"{result['num_rollouts']:,} rollouts in {result['num_groups']:,} groups"
    quality = f"{_share(whole['right_share'])} right, {_share(whole['flawed_share'])} of the right answers flawed"
    return [
        *heading(result),
        f"{size}; {quality}.",
        "",
        *table(["filter", "parameters", "kept", "share", "right", "flawed of right", "reasons"], rows),
        "",
        *table(["method", "numbers"], [[name, _shown(one)] for name, one in result["others"].items()]),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _shown(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {_number(value)}" for key, value in values.items()) or "-"


def _number(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_number, value))
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
