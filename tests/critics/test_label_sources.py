import typing
from dataclasses import replace

import pyarrow as pa
import pytest

from critics.errors import CriticDataError
from critics.evidence import Bag, SiblingPair, StepLabel
from critics.examples import StepExamples, label_table, path_example
from critics.heads import HEADS
from critics.label_sources import SOURCES, build_examples, check_classes, check_targets, tables_read
from pipelines.catalogue.critics import METHODS as CRITICS
from pipelines.config import CriticConfig
from pipelines.tables import RELATIONS, SCHEMAS
from tests.critics.conftest import make_node, make_problem, table, verify_prompt

NIGHT = "n1"


def tables_of(**rows):
    found = {name: SCHEMAS[name].empty_table() for name in SCHEMAS}
    return found | {name: table(name, some) for name, some in rows.items()}


def make_sample(rollout_id, steps=("a", "b", "c"), **fields):
    row = {
        "rollout_id": rollout_id, "problem_id": "p", "steps": list(steps), "outcome_reward": 1.0, "answer": "3",
        "finish_reason": "stop", "night": NIGHT, "is_guided": False,
    }  # fmt: skip
    return row | fields


def make_verdict(rollout_id, verdict, first_error_step, **fields):
    row = {"rollout_id": rollout_id, "problem_id": "p", "verdict": verdict, "first_error_step": first_error_step}
    return row | {"confidence": 0.75, "night": NIGHT} | fields


def built(source, **rows):
    rows.setdefault("problems", [make_problem("p")])
    return build_examples(source, tables_of(**rows), verify_prompt)


def labels_of(tree):
    return [(label.target, label.weight) for label in tree.labels[1:]]


def test_every_source_of_the_configuration_exists_and_gold_is_none_of_them():
    assert set(typing.get_args(CriticConfig.model_fields["labels"].annotation)) == set(SOURCES)
    for source in SOURCES.values():
        assert set(source.reads) <= set(SCHEMAS)
        assert "gold_steps" not in source.reads


def test_every_source_and_head_has_a_record_that_names_it():
    summaries = " ".join(method.summary for method in CRITICS)
    assert all(f"labels = {name}" in summaries for name in SOURCES)
    assert all(f"head = {name}" in summaries for name in HEADS if name != "outcome_classes")


@pytest.mark.parametrize("source", SOURCES)
def test_empty_tables_give_no_examples(source):
    assert built(source).trees == ()


def test_a_judge_labels_steps_up_to_its_first_error_by_its_confidence():
    examples = built(
        "judge",
        rollouts=[make_sample("r1"), make_sample("r2"), make_sample("r3"), make_sample("r4"), make_sample("r5")],
        verdicts=[
            make_verdict("r1", "wrong", 1), make_verdict("r2", "right", -1), make_verdict("r3", "wrong", -1),
            make_verdict("r4", None, None, error="lost"), make_verdict("r5", "wrong", 3),
        ],
    )  # fmt: skip
    assert [tree.tree_id for tree in examples.trees] == ["r1", "r2"]
    assert labels_of(examples.trees[0]) == [(1.0, 0.75), (0.0, 0.75), (0.0, 0.0)]
    assert labels_of(examples.trees[1]) == [(1.0, 0.75)] * 3
    assert examples.trees[0].is_guided is False


def make_review(rollout_id, first_error_step, reviewer="ann", **fields):
    row = {"rollout_id": rollout_id, "problem_id": "p", "steps": ["a", "b", "c"], "reviewer": reviewer, "night": NIGHT}
    row |= {"first_error_step": first_error_step, "review_id": f"{rollout_id}-{reviewer}-{first_error_step}"}
    return row | {"reviewed_on": "2026-01-02", "import_number": 1} | fields


def test_people_label_steps_up_to_the_first_error_that_most_of_them_name():
    reviews = [
        make_review("r1", 1), make_review("r2", -1),
        make_review("r3", 0), make_review("r3", -1, "bob"),  # one against one
        make_review("r4", 0), make_review("r4", 0, "bob"), make_review("r4", 2, "eve"),
        make_review("r5", 0), make_review("r5", 2, reviewed_on="2026-01-03"),  # a second thought
        make_review("r6", 0, problem_id="held out"),
    ]  # fmt: skip
    trees = {tree.tree_id: tree for tree in built("human", human_labels=reviews).trees}
    assert set(trees) == {"r1", "r2", "r4", "r5"}
    assert labels_of(trees["r1"]) == [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)]
    assert labels_of(trees["r2"]) == [(1.0, 1.0)] * 3
    assert labels_of(trees["r4"]) == [(0.0, 2 / 3), (0.0, 0.0), (0.0, 0.0)]
    assert labels_of(trees["r5"]) == [(1.0, 1.0), (1.0, 1.0), (0.0, 1.0)]


def test_reviews_join_other_labels_of_steps_and_overrule_them_on_the_same_rollout():
    tables = tables_of(
        problems=[make_problem("p")],
        rollouts=[make_sample("r1"), make_sample("r2")],
        verdicts=[make_verdict("r1", "wrong", 0), make_verdict("r2", "right", -1)],
        human_labels=[make_review("r1", -1), make_review("old", 0)],
    )
    for source in ("judge", "consensus"):  # where people spoke, nobody else has to agree
        examples = build_examples(source, tables, verify_prompt, reviewed_weight=4.0)
        labels = {tree.tree_id: labels_of(tree) for tree in examples.trees}
        assert labels["r1"] == [(1.0, 4.0)] * 3 and labels["old"] == [(0.0, 4.0), (0.0, 0.0), (0.0, 0.0)]
    assert labels_of(build_examples("judge", tables, verify_prompt, reviewed_weight=4.0).trees[0]) == [(1.0, 0.75)] * 3
    assert build_examples("judge", tables, verify_prompt) == build_examples(
        "judge", tables | {"human_labels": SCHEMAS["human_labels"].empty_table()}, verify_prompt, reviewed_weight=4.0
    )
    assert "human_labels" in tables_read("relative", reviewed_weight=1.0)
    for source, weight in (("relative", 0.0), ("outcome", 1.0), ("siblings", 1.0)):  # no labels of steps
        assert "human_labels" not in tables_read(source, reviewed_weight=weight)


def test_a_few_reviews_that_all_say_the_same_are_no_reason_to_refuse_other_labels():
    right, wrong = StepLabel(1.0, 1.0, 1.0, source="judge"), StepLabel(0.0, 1.0, 0.0, source="judge")
    human = StepLabel(1.0, 1.0, 1.0, source="human")
    check_classes(_example(right, wrong, human))
    with pytest.raises(CriticDataError, match="source human have one class only"):
        check_classes(_example(human, human))


def test_consensus_keeps_rollouts_whose_first_error_judge_and_completions_agree_on():
    wrong = {"outcome_reward": 0.0}
    first_error = {"problem_id": "p", "tree_id": "t", "night": NIGHT}
    scores = [
        {"rollout_id": "r4", "step": step, "source": "monte_carlo", "score": score, "night": NIGHT}
        for step, score in enumerate((0.5, 0.0, 0.0))
    ]
    examples = built(
        "consensus",
        rollouts=[
            make_sample("r1", **wrong), make_sample("r2", steps="xyz", **wrong), make_sample("r3"),
            make_sample("r4", steps="cde", **wrong), make_sample("r5"), make_sample("r6", steps="fgh", **wrong),
        ],
        verdicts=[
            make_verdict("r1", "wrong", 1),  # completions say 1 too
            make_verdict("r2", "wrong", 2),  # completions say 0
            make_verdict("r3", "right", -1),  # right answer
            make_verdict("r4", "wrong", 1),  # first score of 0 at step 1
            make_verdict("r5", "wrong", 0),  # but the answer is right
            make_verdict("r6", "wrong", 0),  # completions say nothing
        ],
        first_errors=[
            first_error | {"rollout_id": "r1", "step": 1},
            first_error | {"rollout_id": "r2", "step": 0},
        ],
        step_scores=scores,
    )  # fmt: skip
    assert [tree.tree_id for tree in examples.trees] == ["r1", "r3", "r4"]


def test_consensus_takes_the_first_error_of_a_tree_for_samples_that_begin_alike():
    wrong = {"outcome_reward": 0.0}
    first_error = {"rollout_id": "t1", "problem_id": "p", "tree_id": "t", "step": 1, "night": NIGHT}
    examples = built(
        "consensus",
        rollouts=[
            make_sample("t1", steps="abc", **wrong),  # of the tree: lost with its step b
            make_sample("r1", steps="abd", **wrong), make_sample("r2", steps="abd", **wrong),
            make_sample("r3", steps="ab", **wrong), make_sample("r4", steps="adb", **wrong),
            make_sample("r5", steps="a", **wrong), make_sample("r6", steps="abd"),
        ],
        verdicts=[
            make_verdict("r1", "wrong", 1),
            make_verdict("r2", "wrong", 2),  # completions of `ab` say 1
            make_verdict("r3", "wrong", 1),
            make_verdict("r4", "wrong", 1),  # no tree has lost `ad`
            make_verdict("r5", "wrong", 0),  # ends before the step that was lost
            make_verdict("r6", "right", -1),  # right, whatever the tree says
        ],
        first_errors=[first_error],
    )  # fmt: skip
    assert [tree.tree_id for tree in examples.trees] == ["r1", "r3", "r6"]
    assert labels_of(examples.trees[0])[:2] == [(1.0, 0.75), (0.0, 0.75)]


def test_votes_are_shares_with_counts_and_end_at_the_step_that_most_call_wrong():
    def critique(agent, verdicts):
        return {"critique_id": agent, "rollout_id": "r1", "agent": agent, "step_verdicts": verdicts, "night": NIGHT}

    examples = built(
        "votes",
        rollouts=[make_sample("r1")],
        critiques=[
            critique("x", ["right", "wrong", "right"]), critique("y", ["right", "wrong"]),
            critique("z", ["wrong", "right"]),
        ],
    )  # fmt: skip
    (tree,) = examples.trees
    assert labels_of(tree) == [(pytest.approx(2 / 3), 1.0), (pytest.approx(1 / 3), 1.0), (0.0, 0.0)]
    assert (tree.labels[1].num_right, tree.labels[1].num_total) == (2, 3)
    assert tree.labels[1].grades == pytest.approx((1 / 3, 2 / 3))


def test_a_formal_checker_labels_what_it_could_check():
    def formal(step, score):
        return {"rollout_id": "r1", "step": step, "source": "formal", "scorer_version": "v", "score": score,
                "night": NIGHT}  # fmt: skip

    rows = [formal(0, 1.0), formal(1, None), formal(2, 0.0), formal(3, 1.0)]
    examples = built("formal", rollouts=[make_sample("r1", steps="abcd")], step_scores=rows)
    assert labels_of(examples.trees[0]) == [(1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (0.0, 0.0)]


def test_an_outcome_is_a_pass_a_fail_or_no_answer_at_all():
    rollouts = [
        make_sample("r1"), make_sample("r2", outcome_reward=0.0), make_sample("r3", answer=None, outcome_reward=0.0),
        make_sample("r4", finish_reason="length", outcome_reward=0.0), make_sample("r5", outcome_reward=None),
        make_sample("r6", error="lost", steps=()),
    ]  # fmt: skip
    examples = built("outcome_classes", rollouts=rollouts)
    assert [(tree.tree_id, tree.labels[-1].grades) for tree in examples.trees] == [
        ("r1", (0.0, 0.0, 1.0)), ("r2", (1.0, 0.0, 0.0)), ("r3", (0.0, 1.0, 0.0)), ("r4", (0.0, 1.0, 0.0)),
    ]  # fmt: skip
    assert [label.weight for label in examples.trees[0].labels] == [0.0, 0.0, 0.0, 1.0]


def test_a_preference_pair_is_two_branches_compared_at_their_last_steps():
    pair = {"pair_id": "a", "problem_id": "p", "prompt": "1+2\nx\n", "chosen": "c\nd\n", "rejected": "e\n",
            "margin": 0.4}  # fmt: skip
    (tree,) = built("preference_pairs", preference_pairs=[pair]).trees
    assert tree.steps == ("", "x", "c", "d", "e")
    assert tree.pairs == (SiblingPair(3, 4, 0.4),)
    assert [(row.path, row.read) for row in tree.rows] == [((1, 2, 3), (2,)), ((1, 4), (1,))]


def test_a_pair_that_begins_otherwise_than_its_problem_is_named():
    pair = {"pair_id": "a7", "problem_id": "p", "prompt": "2+2\n", "chosen": "c", "rejected": "e", "margin": 0.4}
    with pytest.raises(CriticDataError, match="pair a7: its prompt does not begin with the statement of problem p"):
        built("preference_pairs", preference_pairs=[pair])


def test_values_come_from_the_rows_of_one_method():
    nodes = [make_node(0, None, ""), make_node(1, 0, "a", 1, 2)]
    value = {"tree_id": "t", "node_id": 1, "problem_id": "p", "value": 0.4}
    rows = [value | {"method": "td_lambda"}, value | {"method": "rest_mcts", "value": 0.9}]
    assert labels_of(built("td_lambda", search_nodes=nodes, node_values=rows).trees[0]) == [(0.4, 1.0)]
    assert labels_of(built("rest_mcts", search_nodes=nodes, node_values=rows).trees[0]) == [(0.9, 1.0)]


def test_problems_of_the_other_split_teach_nothing():
    examples = built("judge", problems=[make_problem("p", split="held_out")], rollouts=[make_sample("r1")],
                     verdicts=[make_verdict("r1", "right", -1)])  # fmt: skip
    assert examples.trees == ()


def test_source_counts_and_guidance_stay_beside_every_label():
    nodes = [make_node(0, None, "", is_guided=True), make_node(1, 0, "a", 1, 2, is_guided=True)]
    found = label_table(built("monte_carlo", search_nodes=nodes))
    assert found.schema == RELATIONS["step_labels"]
    (row,) = found.to_pylist()
    assert (row["source"], row["num_right"], row["num_total"], row["is_guided"]) == ("monte_carlo", 1.0, 2.0, True)
    assert isinstance(found, pa.Table)


def _example(*labels):
    return StepExamples((path_example("tree-9", "p", "1", ["a"] * len(labels), labels),))


def test_a_label_that_is_not_a_number_is_named_with_its_tree_and_step():
    with pytest.raises(CriticDataError, match="tree tree-9 of problem p, node 2: .* target nan"):
        check_targets(_example(StepLabel(1.0, 1.0, 1.0), StepLabel(float("nan"), 1.0, 1.0)))
    with pytest.raises(CriticDataError, match="weight -1"):
        check_targets(_example(StepLabel(1.0, -1.0, 1.0)))


def test_no_other_number_of_a_label_a_pair_or_a_bag_may_be_missing():
    nan = float("nan")
    with pytest.raises(CriticDataError, match=r"tree-9 of problem p, node 1: .* samples \(0.5, nan\)"):
        check_targets(_example(StepLabel(0.5, 1.0, 0.5, samples=(0.5, nan))))
    with pytest.raises(CriticDataError, match=r"node 1: .* counts \(nan, 2.0\)"):
        check_targets(_example(StepLabel(0.5, 1.0, 0.5, num_right=nan, num_total=2.0)))
    tree = path_example("tree-9", "p", "1", ["a", "b"], [StepLabel(1.0, 1.0, 1.0)] * 2, pairs=[SiblingPair(1, 2, nan)])
    with pytest.raises(CriticDataError, match="tree-9 of problem p: the pair of nodes 1 and 2 has strength nan"):
        check_targets(StepExamples((tree,)))
    tree = replace(tree, pairs=(), bags=(Bag((1, 2), nan),))
    with pytest.raises(CriticDataError, match=r"the bag of nodes \(1, 2\) has outcome nan, not 0 to 1"):
        check_targets(StepExamples((tree,)))
    check_targets(_example(StepLabel(0.5, 1.0, 0.5, attributes=(nan,))))  # not known


def test_consensus_of_one_class_says_what_both_sources_have_to_agree_on():
    with pytest.raises(CriticDataError, match="2 right and 0 wrong.* names the step that first_errors names"):
        check_classes(_example(*[StepLabel(1.0, 1.0, 1.0, source="consensus")] * 2))


def test_a_table_of_one_class_is_named_with_its_numbers():
    with pytest.raises(CriticDataError, match="source judge have one class only: 2 right and 0 wrong, in 1 trees of 1"):
        check_classes(_example(*[StepLabel(1.0, 1.0, 1.0, source="judge")] * 2))
    # values are no verdicts: those of hard problems may all be low
    check_classes(_example(StepLabel(0.1, 1.0, 0.1, source="td_lambda")))
    # masked steps are of no class
    with pytest.raises(CriticDataError, match="1 right and 0 wrong"):
        check_classes(_example(StepLabel(1.0, 1.0, 1.0, source="judge"), StepLabel(0.0, 0.0, 0.0, source="judge")))


def test_attributes_are_other_sources_targets_of_the_same_steps():
    nodes = [make_node(0, None, ""), make_node(1, 0, "a", 1, 2), make_node(2, 0, "b", 0, 2)]
    tables = tables_of(problems=[make_problem("p")], search_nodes=nodes,
                       node_values=[{"tree_id": "t", "node_id": 1, "method": "td_lambda", "value": 0.7}])  # fmt: skip
    attributes = ("stepwise_outcome", "td_lambda")
    assert tables_read("monte_carlo", attributes) == ("problems", "search_nodes", "node_values")
    (tree,) = build_examples("monte_carlo", tables, verify_prompt, attributes=attributes).trees
    assert [label.target for label in tree.labels[1:]] == [0.5, 0.0]
    assert tree.labels[1].attributes == (1.0, 0.7)
    assert tree.labels[2].attributes == pytest.approx((0.0, float("nan")), nan_ok=True)


def test_an_attribute_that_says_nothing_is_named():
    nodes = [make_node(0, None, ""), make_node(1, 0, "a", 1, 2)]
    tables = tables_of(problems=[make_problem("p")], search_nodes=nodes)
    with pytest.raises(CriticDataError, match="attribute judge says nothing of any of the 1 steps that monte_carlo"):
        build_examples("monte_carlo", tables, verify_prompt, attributes=("judge",))


def test_policy_shifts_count_like_ranked_answers_whatever_their_margin():
    def pair(name, kind, margin):
        row = {"pair_id": name, "problem_id": "p", "kind": kind, "margin": margin}
        return row | {"prompt": "1+2=?\n", "chosen": "a\n", "rejected": "b\n"}

    statement = make_problem("p")["prompt"] + "\n"
    pairs = [pair("shift", "policy_shift", -0.25), pair("ranked", "rollout", 0.5), pair("step", "step", 0.5),
             pair("draw", "rollout", 0.0)]  # fmt: skip
    pairs = [row | {"prompt": statement} for row in pairs]
    trees = built("policy_shift", preference_pairs=pairs).trees
    assert [(tree.tree_id, tree.pairs[0].weight) for tree in trees] == [("ranked", 1.0), ("shift", 1.0)]
    assert [tree.tree_id for tree in built("preference_pairs", preference_pairs=pairs).trees] == ["ranked", "step"]
