"""What is said to have changed between two nights."""

import json

from pipelines.night_report.log import Change, changes_of, flat_config


def row(config: dict, **changes: object) -> dict:
    known = {"policy_version": "a" * 64, "guide_night": None, "engine": "vllm 1", "code_digest": "c" * 64}
    return known | {"config": json.dumps(flat_config(config))} | changes


def test_the_first_night_has_no_changes():
    assert changes_of(row({}), None) == []


def test_keys_of_the_configuration_are_compared_by_their_dotted_names():
    before = row({"rollouts": {"group_size": 8, "seed": 0}, "paths": {"lake": "x"}})
    after = row({"rollouts": {"group_size": 16}, "consistency": {"use": ["prof"]}, "paths": {"lake": "y"}})
    assert changes_of(after, before) == [
        Change("configuration consistency.use", None, '["prof"]'),
        Change("configuration rollouts.group_size", "8", "16"),
        Change("configuration rollouts.seed", "0", None),
    ]


def test_model_critic_and_code_are_named_by_short_digests():
    after = row({}, policy_version="b" * 64, guide_night="2026-01-02", code_digest="d" * 64)
    assert changes_of(after, row({})) == [
        Change("model", "a" * 12, "b" * 12),
        Change("critic that guided", None, "2026-01-02"),
        Change("code", "c" * 12, "d" * 12),
    ]


def test_long_values_are_cut():
    (change,) = changes_of(row({"a": {"b": "x" * 200}}), row({"a": {"b": "y"}}))
    assert len(change.after) == 80 and change.after.endswith("…")
