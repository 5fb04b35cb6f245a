"""Every head and every kind of label goes through the whole loop: examples, training, checkpoint, scores."""

import statistics

import pytest

from critics.errors import CheckpointError, CriticDataError
from critics.examples import StepExamples
from critics.head_registry import head_of
from critics.heads import HEADS
from critics.label_sources import SOURCES, build_examples
from critics.score import load_critic, score_rollouts
from critics.train import train_process_critic
from pipelines.config import CriticConfig
from pipelines.errors import ConfigError
from pipelines.tables import SCHEMAS
from tests.critics.conftest import make_node, make_problem, table, verify_prompt

BASE = CriticConfig(
    steps=20, batch_size=32, learning_rate=1e-2, anchor_weight=0.0, num_folds=3, validation_fraction=0.2, eval_every=20,
    num_bins=21, num_quantiles=9,
)  # fmt: skip
NIGHT = "n1"
KINDS = {"outcome": "outcome", "outcome_classes": "outcome"}
KINDS |= dict.fromkeys(("siblings", "preference_pairs", "policy_shift"), "preference")
QUICK_HEADS, QUICK_LABELS = ("quantile", "beta"), ("outcome_bag", "votes", "preference_pairs")


def _slow_but(quick, names):
    """The quick ones in every run, all of them in the whole suite."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def night(toy_trees):
    """Trees in which steps that begin with `a` are right, and the same steps as rollouts, judged and paired."""
    problems, nodes = toy_trees(30)
    tables = {name: schema.empty_table() for name, schema in SCHEMAS.items()}
    names = problems["problem_id"].to_pylist()
    statements = dict(zip(names, problems["prompt"].to_pylist(), strict=True))
    leaves, rollouts, verdicts, critiques, reviews, pairs, formal, values = [], [], [], [], [], [], [], []
    for row in nodes.to_pylist():
        leaves.append(row)
        values += [
            {"tree_id": row["tree_id"], "node_id": row["node_id"], "problem_id": row["problem_id"], "method": method,
             "value": row["raw_value"], "num_right": 4 * int(row["raw_value"]), "num_completions": 4,
             "quantiles": [row["raw_value"]] * 3}
            for method in ("td_lambda", "rest_mcts", "beta_quantiles") if row["raw_value"] is not None
        ]  # fmt: skip
        if row["node_id"] in (1, 2):  # an answer behind each of the two first steps
            leaf = {"is_terminal": True, "outcome_reward": row["raw_value"], "tree_id": row["tree_id"],
                    "problem_id": row["problem_id"]}  # fmt: skip
            leaves.append(make_node(10 + row["node_id"], row["node_id"], "d", **leaf))
    for index, name in enumerate(names):
        for letter, outcome in (("a", 1.0), ("b", 0.0)):
            rollout_id, steps = f"{name}-{letter}", [f"{letter}{index % 7}", f"{letter}{index % 4}c"]
            known = {"rollout_id": rollout_id, "problem_id": name, "night": NIGHT}
            rollouts.append(known | {"steps": steps, "outcome_reward": outcome, "answer": "1", "finish_reason": "stop"})
            verdict, first = ("right", -1) if outcome else ("wrong", 0)
            verdicts.append(known | {"verdict": verdict, "first_error_step": first, "confidence": 1.0})
            critiques.append(known | {"critique_id": rollout_id, "agent": "x", "step_verdicts": [verdict] * 2})
            review = {"review_id": rollout_id, "reviewer": "ana", "reviewed_on": "2026-11-01", "import_number": 1}
            reviews.append(known | review | {"steps": steps, "first_error_step": first})
            formal.append(known | {"step": 0, "source": "formal", "scorer_version": "v", "score": outcome})
            formal.append(known | {"step": 0, "source": "monte_carlo", "scorer_version": "v", "score": outcome})
        pairs.append({"pair_id": name, "problem_id": name, "prompt": f"{statements[name]}\n", "chosen": "a1\n",
                      "rejected": "b1\n", "margin": 0.5, "kind": "rollout"})  # fmt: skip
    return tables | {
        "problems": problems, "search_nodes": table("search_nodes", leaves), "rollouts": table("rollouts", rollouts),
        "verdicts": table("verdicts", verdicts), "critiques": table("critiques", critiques),
        "human_labels": table("human_labels", reviews),
        "preference_pairs": table("preference_pairs", pairs), "step_scores": table("step_scores", formal),
        "node_values": table("node_values", values),
    }  # fmt: skip


def trained(night, language_model, folder, **changes):
    config = BASE.model_copy(update=changes)
    examples = build_examples(config.labels, night, verify_prompt, attributes=config.attributes)
    critic = train_process_critic(examples, config, language_model, folder / "critic", data_version="gen-1")
    return critic, load_critic(critic.folder)


def score_of(scorer, step):
    return scorer.score(["<verify>1+9\n"], [[step]])[0][0]


@pytest.mark.parametrize("head", _slow_but(QUICK_HEADS, HEADS))
def test_every_head_learns_which_step_is_right(night, language_model, tmp_path, head):
    critic, scorer = trained(night, language_model, tmp_path, head=head)
    assert score_of(scorer, "a1") > score_of(scorer, "b1") + 0.1
    assert critic.metrics["validation_sibling_accuracy"] > 0.9
    assert scorer.head == head_of(BASE.model_copy(update={"head": head}))
    assert critic.manifest.config["head"] == head


@pytest.mark.parametrize("labels", _slow_but(QUICK_LABELS, [name for name in SOURCES if name != "relative"]))
def test_every_kind_of_label_teaches_which_step_is_right(night, language_model, tmp_path, labels):
    # outcomes are read at the last step: the answer "d" of the trees, the second step of the rollouts
    second = {"outcome": "d", "outcome_classes": "1c"}.get(labels, "")
    critic, scorer = trained(night, language_model, tmp_path, labels=labels)
    assert critic.manifest.kind == KINDS.get(labels, "process")
    right, wrong = scorer.score(
        ["<verify>1+9\n"] * 2, [[f"{letter}1", _second_step(letter, second)] for letter in "ab"]
    )
    at = 1 if second else 0
    assert right[at] > wrong[at] + 0.05


def _second_step(letter, text):
    return text if text == "d" else letter + text


@pytest.mark.parametrize("pooling", _slow_but(["truncated"], ["mean", "min", "truncated"]))
def test_an_ensemble_of_mixed_heads_is_one_checkpoint_that_knows_its_disagreement(
    night, language_model, tmp_path, pooling
):
    _, scorer = trained(night, language_model, tmp_path, ensemble=("bce", "quantile", "beta"), pooling=pooling)
    assert score_of(scorer, "a1") > score_of(scorer, "b1") + 0.1
    rollouts = table("rollouts", [{"rollout_id": "r", "problem_id": "new", "steps": ["a1", "b2"]}])
    problems = table("problems", [make_problem("new", split="held_out")])
    found = score_rollouts(rollouts, problems, scorer, verify_prompt, NIGHT)
    assert all(0 < value <= 0.25 for value in found["disagreement"].to_pylist())
    for row in found.to_pylist():
        assert len(row["member_scores"]) == 3
        assert row["disagreement"] == pytest.approx(statistics.pvariance(row["member_scores"]), abs=1e-6)


def test_a_single_head_has_no_disagreement(night, language_model, tmp_path):
    _, scorer = trained(night, language_model, tmp_path, head="beta", steps=1)
    (opinions,) = scorer.opinions(["<verify>1+9\n"], [["a1"]])
    assert opinions[0].disagreement is None and opinions[0].member_scores is None


def test_a_critic_of_every_token_values_a_step_before_it_ends(night, language_model, tmp_path):
    critic, scorer = trained(night, language_model, tmp_path, labels="monte_carlo", read_at="every_token")
    assert score_of(scorer, "a1") > score_of(scorer, "b1") + 0.1
    assert critic.manifest.config["read_at"] == "every_token"


@pytest.mark.slow
def test_several_attributes_are_learned_at_once(night, language_model, tmp_path):
    attributes = ("stepwise_outcome", "td_lambda")
    _, scorer = trained(night, language_model, tmp_path, head="attributes", attributes=attributes)
    assert score_of(scorer, "a1") > score_of(scorer, "b1") + 0.1
    assert scorer.head.attributes == attributes


@pytest.mark.slow
def test_a_cautious_critic_scores_no_higher_than_its_mean(night, language_model, tmp_path):
    _, mean = trained(night, language_model, tmp_path / "mean", head="quantile")
    _, cautious = trained(night, language_model, tmp_path / "cvar", head="quantile", read_off="cvar", risk_level=0.2)
    assert score_of(cautious, "a1") < score_of(mean, "a1")


@pytest.mark.slow
def test_options_of_the_loss_change_what_is_learned(night, language_model, tmp_path):
    weights = {
        name: trained(night, language_model, tmp_path / name, steps=5, validation_fraction=0.0, **changes)[0].digest
        for name, changes in {
            "values_only": {}, "smoothed": {"label_smoothing": 0.2}, "pairs_too": {"contrast_weight": 1.0},
            "margin": {"contrast_weight": 1.0, "pair_loss": "margin"},
            "unscaled": {"contrast_weight": 1.0, "pair_loss": "plain"},
            "pairs_only": {"contrast_weight": 1.0, "value_weight": 0.0},
        }.items()
    }  # fmt: skip
    assert len(set(weights.values())) == 6


def test_a_loss_with_nothing_to_learn_from_is_refused(night, language_model, tmp_path):
    with pytest.raises(ConfigError, match="value_weight = 0 and contrast_weight = 0 leave nothing to learn"):
        trained(night, language_model, tmp_path, value_weight=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("bag_pooling", ["product", "soft_min"])
def test_bags_can_be_pooled_otherwise(night, language_model, tmp_path, bag_pooling):
    _, scorer = trained(night, language_model, tmp_path, labels="outcome_bag", bag_pooling=bag_pooling)
    assert score_of(scorer, "a1") > score_of(scorer, "b1")


def test_a_critic_of_another_head_is_no_start(night, language_model, tmp_path):
    critic, _ = trained(night, language_model, tmp_path, steps=1)
    with pytest.raises(CheckpointError, match="BceHead.*configuration asks for BetaHead"):
        trained(night, critic.folder, tmp_path / "again", head="beta", steps=1)


def test_labels_of_one_class_stop_the_training(night, language_model, tmp_path):
    examples = build_examples("judge", night, verify_prompt)
    right = StepExamples(tuple(tree for tree in examples.trees if tree.tree_id.endswith("a")))
    with pytest.raises(CriticDataError, match="source judge have one class only"):
        train_process_critic(right, BASE, language_model, tmp_path / "critic")
