from dataclasses import replace

import pytest

from pipelines.inference.types import GenerationRequest, Sampling, UsageStats, engine_seed

REQUEST = GenerationRequest((1, 2, 3), Sampling(), seed=7, purpose="sample")


def test_the_request_id_is_a_fixed_function_of_the_content():
    assert REQUEST.request_id("digest") == GenerationRequest((1, 2, 3), Sampling(), 7, "expand").request_id("digest")
    assert REQUEST.request_id("digest") == "869707218b41e20962338f3f960e8003"


def test_every_part_of_the_content_changes_the_request_id():
    changed = [
        replace(REQUEST, prompt_token_ids=(1, 23)),
        replace(REQUEST, seed=8),
        replace(REQUEST, sampling=Sampling(temperature=0.5)),
        replace(REQUEST, sampling=Sampling(top_p=0.9)),
        replace(REQUEST, sampling=Sampling(max_tokens=65)),
        replace(REQUEST, sampling=Sampling(n=2)),
        replace(REQUEST, sampling=Sampling(stop=("\n",))),
        replace(REQUEST, sampling=Sampling(regex="[0-9]")),
    ]
    ids = {request.request_id("digest") for request in [REQUEST, *changed]} | {REQUEST.request_id("other")}

    assert len(ids) == len(changed) + 2


def test_whole_numbers_and_floats_mean_the_same_sampling():
    assert Sampling(temperature=1, top_p=1).digest() == Sampling(temperature=1.0, top_p=1.0).digest()


def test_engine_seeds_fit_31_bits():
    assert engine_seed("ffffffff" + "0" * 24) == 2**31 - 1
    assert engine_seed("00000005" + "0" * 24) == 5


def test_the_problem_is_not_part_of_the_request_id():
    assert replace(REQUEST, affinity="p1").request_id("digest") == REQUEST.request_id("digest")


def test_the_cached_share_is_that_of_all_prompt_tokens():
    assert UsageStats().cached_share == 0.0
    assert UsageStats(prompt_tokens=40, cached_tokens=30).cached_share == 0.75


def test_the_engine_is_busy_while_any_request_is_under_way(monkeypatch):
    # from 1 to 4 with two at once, and from 6 to 7
    clock = iter((1.0, 4.0, 6.0, 7.0))
    monkeypatch.setattr("pipelines.inference.types.time.monotonic", lambda: next(clock))
    stats = UsageStats()
    with stats.under_way(), stats.under_way():
        assert (stats.num_in_flight, stats.engine_seconds) == (2, 0.0)
    with pytest.raises(ValueError), stats.under_way():
        raise ValueError
    assert (stats.num_in_flight, stats.engine_seconds) == (0, 4.0)
