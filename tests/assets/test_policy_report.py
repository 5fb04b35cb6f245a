"""Measuring the policy on a scripted model: which votes over its samples are in the report, and what they cost."""

import asyncio
import random

import pytest
from scripted_night import small_settings, write_reply

from assets.evaluation import evaluation_problems, measure, sampling_config, strategies
from critics.score import StepOpinion
from pipelines.config import ReportsConfig, RolloutsConfig, Settings
from pipelines.configured import reported_searches
from pipelines.errors import ConfigError
from pipelines.inference.scripted import ScriptedModel
from pipelines.problems import load_problems
from pipelines.records import no_progress
from pipelines.search.recipes import RECIPES

ALWAYS = {"majority_4", "best_of_4_logprob", "best_of_4_mean_logprob", "best_of_4_critic", "weighted_majority_4_critic"}
OTHERS = {"greedy", "pass_at_1", "puct_critic", "oracle_4"}
CERTAINTY = {"best_of_4_certainty", "borda_4_certainty"}
SELF_PRM = {"best_of_4_self_prm", "weighted_majority_4_self_prm"}


class Undecided:
    """A critic that gives every step 0.5."""

    source = "critic"
    version = "undecided"
    training_problems = frozenset()

    def score(self, prompts, steps):
        return [[0.5] * len(path) for path in steps]

    def opinions(self, prompts, steps):
        return [[StepOpinion(0.5, None)] * len(path) for path in steps]


def measured(settings: Settings) -> tuple[dict[str, object], int]:
    """The strategies by name, and how many texts the policy was asked to score."""
    model = ScriptedModel(lambda request: [write_reply(text, rng) for text, rng in drawn(model, request)])
    problems = evaluation_problems(load_problems(settings), settings.reports)
    work = measure(model.session(), settings, settings.reports, problems, Undecided(), no_progress)
    return {one.strategy: one for one in strategies(asyncio.run(work), settings.reports)}, len(model.score_requests)


def drawn(model, request):
    text = model.tokenizer.decode(request.prompt_token_ids)
    return [(text, random.Random(f"{request.seed}-{index}")) for index in range(request.sampling.n)]


def with_votes(tmp_path, *votes: str, **reports) -> Settings:
    own = {
        "num_problems": 2,
        "n_values": [4],
        "num_samples": 4,
        "num_simulations": 1,
        "num_candidates": 2,
        "extra_votes": votes,
    }
    return small_settings(tmp_path, reports=own | reports)


def test_votes_that_need_no_further_tokens_are_always_in_the_report_and_the_others_are_not(tmp_path):
    found, num_scored = measured(with_votes(tmp_path))
    assert (set(found), num_scored) == (ALWAYS | OTHERS, 0)
    assert found["best_of_4_mean_logprob"].critic_tokens.tolist() == [0.0, 0.0]


def test_votes_by_what_the_policy_says_of_its_samples_are_in_the_report_where_they_are_asked_for(tmp_path):
    found, num_scored = measured(with_votes(tmp_path, "self_certainty", verdict_tokens=("R", "W")))
    assert set(found) == ALWAYS | OTHERS | CERTAINTY
    assert num_scored == 2 * 4  # each sample once
    found, _ = measured(with_votes(tmp_path, "self_certainty", "self_prm", verdict_tokens=("R", "W")))
    assert set(found) == ALWAYS | OTHERS | CERTAINTY | SELF_PRM
    certainty, verdicts = (found[f"best_of_4_{name}"].critic_tokens for name in ("certainty", "self_prm"))
    assert all(0 < once < again for once, again in zip(certainty, verdicts, strict=True))  # prefixes, two verdicts each


def test_verdicts_that_are_no_single_tokens_of_the_policy_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="have 7 and 7 tokens"):
        measured(with_votes(tmp_path, "self_prm"))


def test_the_search_of_the_report_is_that_of_the_night_under_its_name(tmp_path):
    settings = with_votes(tmp_path)
    rollouts = settings.rollouts.model_copy(update={"recipe": "beam", "beam_width": 2})
    found, _ = measured(settings.model_copy(update={"rollouts": rollouts}))
    assert set(found) == ALWAYS | (OTHERS - {"puct_critic"}) | {"beam_critic"}
    assert (found["beam_critic"].critic_tokens > 0).all()


def test_further_recipes_are_measured_beside_that_of_the_night(tmp_path):
    found, _ = measured(with_votes(tmp_path, recipes=("beam", "puct")))
    assert set(found) == ALWAYS | OTHERS | {"beam_critic"}
    refused = Settings(root=tmp_path, reports=ReportsConfig(recipes=("prefix_tree_values",)))
    with pytest.raises(ConfigError, match='reports.recipes names "prefix_tree_values", which makes data'):
        reported_searches(refused, refused.reports)


def test_puct_with_the_critic_stands_for_recipes_that_it_cannot_guide_to_an_answer(tmp_path):
    settings = Settings(root=tmp_path)
    names = {}
    for name in RECIPES:
        own = settings.model_copy(update={"rollouts": RolloutsConfig(recipe=name)})
        names[name] = next(iter(reported_searches(own, own.reports)))
    unfit = {name for name, shown in names.items() if shown == "puct_critic"}
    unable = {one.name for one in RECIPES.values() if one.merge_samples or one.needs & {"grades", "retrieval"}}
    assert unfit == unable | {"puct"}
    assert {shown for name, shown in names.items() if name not in unfit} == {
        f"{name}_critic" for name in names if name not in unfit
    }


@pytest.mark.parametrize(("n_values", "num_samples"), [((8,), 16), ((8, 32), 32)])
def test_every_evaluation_problem_is_sampled_often_enough_for_pass_at_16(n_values, num_samples):
    assert sampling_config(Settings(), ReportsConfig(n_values=n_values)).group_size == num_samples
