"""What the numbers of a night are, in words: as the head of sql/reports/night_numbers.sql says it, for readers."""

WORDS = {
    "tokens_per_kept_row": "completion tokens of search, samples, critiques and refinements per row of sft, "
    "preference, stepwise and rl_groups",
    "num_kept_rows": "rows of sft, preference, stepwise and rl_groups",
    "engine_busy_share": "seconds with a request to the engine under way / seconds of all stages before this page; "
    "engine start and scoring by critics are not in it",
    "prefix_hit_share": "prompt tokens found in a prefix cache / prompt tokens that engines read",
    "store_hit_share": "requests answered by the response store / requests",
    "parse_error_rate": "critiques that could not be read / critiques",
    "ungraded_share": "rollouts without a grade / rollouts",
    "critic_auroc_frozen": "AUROC within problems of right against wrong answers, frozen evaluation problems",
    "critic_auroc_unguided": "the same, within problems of tonight's trees that no critic guided",
    "critic_step_auroc_frozen": "AUROC of right against wrong steps by gold labels, all frozen problems pooled",
    "ece": "calibration error of step scores, frozen evaluation problems",
    "greedy": "right by greedy decoding, frozen evaluation problems",
    "length_p50": "completion tokens of a rollout, median",
    "length_p95": "completion tokens of a rollout, 95 % have at most so many",
    "distinct_solution_share": "distinct solutions / independent samples, averaged over problems",
    "judge_right_share": "critiques that call the solution right / critiques that could be read",
    "judge_bias": "critiques of graded solutions: share that says right, less the share that is right",
    "right_share": "right / graded independent samples",
    "num_pairs": "preference pairs",
    "pair_margin_p50": "margin of preference pairs, median",
    "flawed_in_right_audit": "solutions with a wrong step among right answers, by the audited sample",
    "position_inconsistency": "pairs judged otherwise when shown in the other order",
}


def metric_words(metric: str) -> str:
    """What a number is; empty where nobody has said."""
    if metric.startswith("yield_"):
        return f"rollouts that {metric.removeprefix('yield_')} kept / those that it judged"
    if metric == "pass1":
        return "samples that are right, frozen evaluation problems"
    if metric.removeprefix("pass").isdigit():
        return f"at least one of {metric.removeprefix('pass')} samples right, frozen evaluation problems"
    return WORDS.get(metric, "")
