"""Thoughts, queries and documents in one text, and tables that say which tokens the policy did not write."""

import asyncio

import pytest
from reasoning_worlds import GRADING, NIGHT, STARTER, ScriptedSession, make_config, make_problem

from pipelines.config import PairsConfig, RetrievalConfig, TrainingSetsConfig, TreeExtractsConfig
from pipelines.errors import ConfigError
from pipelines.inference.scripted import EOS_ID, CharTokenizer
from pipelines.inference.session import STARTER_WEIGHTS
from pipelines.inference.tokens import Tokenizer
from pipelines.preference_pairs import build_pairs
from pipelines.reasoning.evaluate import critic_evaluator
from pipelines.reasoning.prompts import load_prompts
from pipelines.reasoning.retrieve import given_tokens, line_of, make_retrieval_actions
from pipelines.reasoning.solve import solve_with_critic
from pipelines.retrieval.corpus import Document, make_corpus
from pipelines.rollouts import search_rollouts
from pipelines.rows import rows_to_table
from pipelines.search.recipes import RECIPES
from pipelines.search.types import Candidate, Path
from pipelines.tables import SCHEMAS
from pipelines.training_sets import build_training_sets
from pipelines.tree_extracts import extract_trees

PLAIN = load_prompts("plain")
FACT = Document("zorks", "A zork has\n  five legs.")
LIE = Document("blorks", "A blork has no legs, a zork neither, say fools of zorks.")
CORPUS = make_corpus([FACT, LIE, Document("rain", "It rains.")], RetrievalConfig())
QUESTION = {"prompt": "How many legs has a zork?", "reference_answer": "5"}


def write_by_fact(text, rng):
    """Searches for zorks, or for rain now and then; knows the answer only where the fact is in the text."""
    body = text.split("Solution:\n")[1]
    if body.endswith("Search: "):
        return "zork legs\n" if rng.random() < 0.7 else "no such thing\n"
    answer = "#### 5\n" if "five legs" in body else "#### 4\n"
    return answer if "think" in body else f"I think\n{answer}"


def actions(session, *, corpus=CORPUS, prompts=PLAIN, max_model_len=None, **config):
    known = {"night": NIGHT, "max_model_len": max_model_len}
    return make_retrieval_actions(session, prompts, make_config(**config), corpus, **known)


def ask(action, path=None, *, write=write_by_fact, num_candidates=8, **options):
    session = ScriptedSession(write)
    path = path or Path(make_problem(**QUESTION), ())
    found = asyncio.run(actions(session, **options)[action](path, num_candidates))
    return found, [session.tokenizer.decode(request.prompt_token_ids) for request in session.requests]


def query_path(text="Search: zork legs"):
    step = Candidate(text, tuple(map(ord, text + "\n")), -1.0, 1.0, False, "r1", action="query")
    return Path(make_problem(**QUESTION), (step,))


def test_a_thought_follows_a_prompt_that_says_how_to_search():
    (thought,), (prompt,) = ask("reason")
    assert prompt.endswith(f"Problem: {QUESTION['prompt']}\n{RetrievalConfig().instruction}\nSolution:\n")
    assert (thought.step_text, thought.action, thought.num_given_tokens) == ("I think", "reason", 0)
    assert "".join(map(chr, thought.prompt_token_ids)) == prompt


def test_the_starter_policy_is_given_no_instruction():
    _, (prompt,) = ask("reason", prompts=STARTER, write=lambda text, rng: "x\n")
    assert prompt == "<solve>How many legs has a zork?\n"


def test_a_query_is_our_mark_and_the_policys_words_and_counts_which_tokens_are_whose():
    queries, (prompt,) = ask("query")
    assert prompt.endswith("Solution:\nSearch: ")
    assert {query.step_text for query in queries} == {"Search: zork legs", "Search: no such thing"}
    for query in queries:
        assert "".join(map(chr, query.token_ids)) == query.step_text + "\n"
        assert query.num_given_tokens == len("Search: ")
        assert len(query.token_logprobs) == len(query.token_ids) - query.num_given_tokens
        assert (query.action, query.is_terminal) == ("query", False)


def test_a_query_that_the_policy_ends_with_its_end_token_is_ended_by_us_instead():
    (query,), _ = ask("query", write=lambda text, rng: "zork")
    assert "".join(map(chr, query.token_ids)) == "Search: zork\n"
    assert EOS_ID not in query.token_ids
    assert query.num_given_tokens == len("Search: ") + 1


@pytest.mark.parametrize("said", ["", "\n", "#### 5\n", "a query that is far longer than its limit of tokens"])
def test_a_query_that_is_empty_an_answer_or_cut_off_is_none(said):
    assert ask("query", write=lambda text, rng: said, step_max_tokens=16)[0] == []


def test_documents_come_by_their_score_as_one_line_of_given_tokens():
    documents, requests = ask("retrieve", query_path())
    assert [document.step_text for document in documents] == [
        "Found: A zork has five legs.",
        "Found: A blork has no legs, a zork neither, say fools of zorks.",
    ]
    assert [document.request_id for document in documents] == ["document:zorks", "document:blorks"]
    assert documents[0].prior > documents[1].prior
    assert sum(document.prior for document in documents) == pytest.approx(1.0)
    for document in documents:
        assert "".join(map(chr, document.token_ids)) == document.step_text + "\n"
        assert (document.num_given_tokens, document.token_logprobs) == (len(document.token_ids), ())
    assert requests == []


def test_a_query_without_a_match_and_a_full_context_find_nothing():
    assert ask("retrieve", query_path("Search: unheard"))[0] == []
    assert ask("retrieve", query_path(), max_model_len=30)[0] == []
    assert len(ask("retrieve", query_path(), num_candidates=1)[0]) == 1


def test_a_document_is_one_line_without_answer_marks_cut_between_words():
    assert line_of("# Title\n\n\tof  it", 99) == "# Title of it"
    assert line_of("one two three", 9) == "one two"
    assert line_of("unbroken", 4) == "unbr"
    assert line_of("#### 7 \\boxed{8} ########", 99) == "7 {8}"
    assert line_of("\\boxe####d{9} #\\boxed###", 99) == "{9}"


def test_special_tokens_in_a_document_become_no_special_tokens():
    assert given_tokens(f"a{chr(EOS_ID)}b", CharTokenizer()) == tuple(map(ord, "ab"))
    tokenizer = Tokenizer.load(STARTER_WEIGHTS)
    special = set(tokenizer.encode("<solve>"))
    assert special.isdisjoint(given_tokens("<solve>1+1", tokenizer))
    nested = given_tokens("<sol<solve>ve>1+1", tokenizer)
    assert nested is None or special.isdisjoint(nested)


def search(**options):
    session = ScriptedSession(write_by_fact)
    config = make_config(recipe="retrieval_planner", num_simulations=16, max_tokens=200, parameters={"max_queries": 1})
    problems = rows_to_table("problems", [make_problem(**QUESTION)])
    known = {"night": NIGHT, "corpus": CORPUS} | options
    return problems, asyncio.run(search_rollouts(problems, session, PLAIN, config, **known, **GRADING))


def test_a_night_finds_the_answer_in_the_corpus_and_says_whose_tokens_are_whose():
    _, made = search()
    nodes = {row["node_id"]: row for row in made.search_nodes.to_pylist()}
    assert {row["action"] for row in nodes.values()} == {None, "reason", "query", "retrieve"}
    right = [row for row in made.rollouts.to_pylist() if row["answer"] == "5"]
    assert right
    for row in made.rollouts.to_pylist():
        text = "".join(map(chr, row["completion_token_ids"]))
        assert text == "\n".join([*row["steps"], ""])
        given = [line for line in row["steps"] if line.startswith("Found: ")]
        marks = [line for line in row["steps"] if line.startswith("Search: ")]
        assert row["num_given_tokens"] == sum(len(line) + 1 for line in given) + len("Search: ") * len(marks)
        assert (row["token_logprobs"] is None) == (row["sum_logprob"] is None) == bool(row["num_given_tokens"])
        assert row["num_tokens"] == len(row["completion_token_ids"])
    assert all(row["num_given_tokens"] for row in right)
    assert any(row["request_id"] == "document:zorks" for row in nodes.values())


def test_the_same_night_is_the_same_again_and_another_corpus_is_another_sampling():
    (_, first), (_, second) = search(), search()
    assert first.search_nodes.equals(second.search_nodes)
    assert first.rollouts.equals(second.rollouts)
    _, other = search(corpus=make_corpus([FACT], RetrievalConfig()))
    digests = [set(made.rollouts["sampling_digest"].to_pylist()) for made in (first, other)]
    assert not digests[0] & digests[1]


def sets_of(problems, made, **changes):
    empty = {name: rows_to_table(name, []) for name in SCHEMAS}
    pairs = build_pairs(problems, made.search_nodes, made.rollouts, None, PairsConfig(max_pairs_per_problem=99), NIGHT)
    known = {name: empty[name] for name in ("consistent_rollouts", "verdicts", "refinements", "step_scores")} | changes
    rollouts = known.pop("rollouts", made.rollouts)
    sets = build_training_sets(
        problems,
        rollouts,
        made.search_nodes,
        pairs,
        *known.values(),
        PLAIN,
        TrainingSetsConfig(min_step_score=0.0),
        NIGHT,
    )
    return sets, pairs


def test_nothing_that_the_policy_did_not_write_is_there_to_be_imitated():
    problems, made = search()
    sets, pairs = sets_of(problems, made)
    assert sets["sft"].num_rows == 0  # only paths with documents were right
    texts = pairs["chosen"].to_pylist() + pairs["rejected"].to_pylist()
    assert texts
    assert not [text for text in texts if text.startswith("Found: ")]
    extracts = extract_trees(
        problems, made.search_nodes, made.search_edges, made.rollouts, TreeExtractsConfig(min_completions=1), NIGHT
    )
    assert (extracts.first_errors.num_rows, extracts.splices.num_rows) == (0, 0)
    assert extracts.node_values.num_rows > 0


def test_policy_gradients_leave_out_rollouts_with_given_tokens_whatever_their_log_probabilities():
    problems, made = search()
    (row,) = [row for row in made.rollouts.to_pylist() if row["answer"] == "5"][:1]
    whole = row | {"token_logprobs": [-0.5] * row["num_tokens"]}
    own = whole | {"rollout_id": "own", "num_given_tokens": 0}
    rollouts = rows_to_table("rollouts", [whole, own])
    kept = [{"rollout_id": one["rollout_id"], "group_id": "g", "outcome_reward": 1.0} for one in (whole, own)]
    sets, _ = sets_of(
        problems, made, rollouts=rollouts, consistent_rollouts=rows_to_table("consistent_rollouts", kept)
    )  # fmt: skip
    assert sets["rl_groups"]["rollout_id"].to_pylist() == ["own"]


@pytest.mark.parametrize("night", [True, False])
def test_without_a_corpus_the_recipe_is_refused_before_anything_is_asked(night):
    with pytest.raises(ConfigError, match=r'"retrieval_planner" looks things up and has no corpus \(key retrieval'):
        search(corpus=None) if night else solve(corpus=None)


def solve(corpus=CORPUS):
    def value_of(path):
        return 0.9 if "five" in "".join(path) else 0.4 if "Search" in path[-1] else 0.2

    def score(prompts, steps):
        return [[value_of(path)] * len(path) for path in steps]

    (solution,) = asyncio.run(
        solve_with_critic(
            rows_to_table("problems", [make_problem(**QUESTION)]), ScriptedSession(write_by_fact), PLAIN,
            make_config(num_simulations=16, max_tokens=200), night=NIGHT, corpus=corpus,
            evaluate=critic_evaluator(score, PLAIN, aggregate=lambda scores: scores[-1]),
            recipe=RECIPES["retrieval_planner"], **GRADING,
        )
    )  # fmt: skip
    return solution


def test_a_critic_finds_the_answer_in_the_corpus():
    solution = solve()
    assert (solution.answer, solution.outcome_reward) == ("5", 1.0)
    assert "Found: A zork has five legs." in solution.steps


@pytest.mark.parametrize("mark", ["a\nb", "  "])
def test_a_mark_that_would_not_be_one_line_is_refused(mark):
    with pytest.raises(ValueError, match="must be text on one line"):
        RetrievalConfig(query_mark=mark)
