"""The page of a night: what it says without data, with data, and with hostile text."""

import json
import re

import pytest

import sql as queries
from pipelines.config import NightReportConfig, Settings
from pipelines.datasets.diff import SetDiff, Shift, VersionDiff
from pipelines.lake import Lake, rows_to_table
from pipelines.night_report.alerts import Alert, clear_alert, list_alerts, read_alert, write_alert
from pipelines.night_report.facts import read_facts
from pipelines.night_report.page import to_html
from pipelines.night_report.sections import SECTIONS
from pipelines.night_report.shared_words import shared_words
from pipelines.night_report.words import metric_words
from pipelines.night_report.write import log_rows, metrics_rows, report_path, write_report
from pipelines.warehouse import Warehouse

N1, N2 = "2026-01-01", "2026-01-02"
CONFIG = NightReportConfig(num_audited=2)
HOSTILE = '<script>alert("x")</script>'


def sample(problem: str, index: int, reward: float, night: str, steps: list[str]) -> dict:
    return {"rollout_id": f"{problem}-{index}-{night}", "problem_id": problem, "group_id": f"g{problem}{night}",
            "outcome_reward": reward, "steps": steps, "num_tokens": 10 * (index + 1), "night": night,
            "policy_id": "m", "policy_version": f"v{night}"}  # fmt: skip


def world() -> dict[str, list[dict]]:
    """Two problems, three samples each, on two nights; on the second one more of them are right."""
    rollouts = [
        sample(problem, index, float(index < right), night, ["1+1=2", f"#### {index}"])
        for night, right in ((N1, 1), (N2, 2))
        for problem in ("p", "q")
        for index in range(3)
    ]
    steps = [(row["rollout_id"], step, row["night"]) for row in rollouts for step in range(2)]
    return {
        "problems": [{"problem_id": name, "prompt": f"{HOSTILE} {name}"} for name in ("p", "q")],
        "rollouts": rollouts,
        "evaluation_rollouts": rollouts,
        "step_scores": [
            {"rollout_id": name, "step": step, "score": 0.9 - 0.1 * step, "source": "critic", "night": night}
            for name, step, night in steps
        ],
        "gold_steps": [
            {"rollout_id": name, "step": step, "is_right": not name.startswith("p-1"), "night": night}
            for name, step, night in steps
        ],
        "critiques": [
            {"critique_id": f"{agent}{row['rollout_id']}", "rollout_id": row["rollout_id"], "agent": agent,
             "verdict": "wrong", "step_verdicts": ["wrong", "wrong"], "night": row["night"]}
            for row in rollouts for agent in ("a", HOSTILE)
        ],
        "policy_report": [
            {"strategy": name, "num_problems": 2, "accuracy": 0.5, "low": 0.4, "high": 0.6, "completion_tokens": tokens,
             "night": N2}
            for name, tokens in (("greedy", 20.0), ("best_of_8_critic", 160.0), ("oracle_8", 160.0))
        ],
        "critic_trials": [{"critic_id": "c2", "current_id": "c1", "is_promotable": False, "reason": "drift",
                           "drift": 2.0, "metrics": json.dumps({"limits": {"margin": 0.0, "max_drift": 0.5}}),
                           "night": N2}],
    }  # fmt: skip


def page(tables: dict[str, list[dict]], night: str = N2, **known: object) -> str:
    made = {table: rows_to_table(table, rows) for table, rows in tables.items()}
    with Warehouse.over(made) as warehouse:
        return to_html(read_facts(warehouse, night, CONFIG), CONFIG, **known)


def test_an_empty_lake_has_a_page_whose_every_section_says_why_it_is_empty():
    html = page({})
    bodies = re.findall(r'<section id="(\w+)">(.*?)</section>', html, re.DOTALL)
    assert [key for key, _ in bodies] == [key for key, _, _ in SECTIONS]
    for key, body in bodies:
        assert 'class="empty"' in body or key == "numbers", key
    assert 'class="verdict open"' in html


def test_the_page_is_self_contained_and_runs_no_script():
    html = page(world())
    assert "default-src 'none'" in html
    assert not re.search(r"<(script|link|iframe|img)\b", html)
    assert not re.search(r'(href|src)="(?!#)', html)  # no tree pages were written: only anchors


def test_texts_of_models_and_problems_are_escaped():
    html = page(world())
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_a_held_critic_is_said_at_the_top_with_check_and_numbers():
    html = page(world())
    assert 'class="verdict hold"' in html
    assert "critic_promotions.promotable" in html and "drift 2.000, limit 0.5)" in html


def test_a_failed_night_says_its_reason_instead():
    assert 'class="verdict failed"' in page(world(), failure="rollouts: the engine died")


def test_numbers_are_compared_with_the_night_before():
    # pass@1: 1 of 3 on the first night, 2 of 3 on the second, of both problems
    html = page(world())
    tile = re.search(r'<div class="tile"><span>pass@1</span><b>(.*?)</b><small>(.*?) ', html)
    assert tile.groups() == ("66.7 %", "+33.3")
    assert "2 better" not in html  # both stay mixed
    assert "0 better, 0 worse (regressions), 2 as before" in html


def test_the_audit_corrects_the_critic_on_right_answers_alone():
    # of the second night's four right answers, p-0, p-1, q-0, q-1, one (p-1) has wrong steps; two of four are audited
    made = {table: rows_to_table(table, rows) for table, rows in world().items()}
    with Warehouse.over(made) as warehouse:
        facts = read_facts(warehouse, N2, NightReportConfig(num_audited=4))
    right = next(row for row in facts.audit if row["measure"] == "right")
    assert (right["num_rows"], right["num_audited"], right["doubly_robust"]) == (4, 4, pytest.approx(0.75))
    assert facts.numbers["flawed_in_right_audit"] == pytest.approx(0.25)


def test_without_gold_labels_nothing_is_audited_and_the_number_is_not_there():
    tables = world() | {"gold_steps": []}
    made = {table: rows_to_table(table, rows) for table, rows in tables.items()}
    with Warehouse.over(made) as warehouse:
        facts = read_facts(warehouse, N2, CONFIG)
    assert facts.audit == [] and "flawed_in_right_audit" not in facts.numbers


def test_position_flips_are_counted_and_compared_over_nights():
    # of three pairs one keeps its label, one follows the position, one is a tie in one order; a fourth cannot be read
    said = {"a": ("first", "second"), "b": ("first", "first"), "c": ("second", "tie"), "d": ("first", None)}
    judged = [
        {"pair_id": pair, "judge": HOSTILE, "shown_first": side, "verdict": verdict, "night": N2}
        for pair, verdicts in said.items() for side, verdict in zip(("chosen", "rejected"), verdicts, strict=True)
    ]  # fmt: skip
    tables = world() | {"pair_judgments": judged}
    made = {table: rows_to_table(table, rows) for table, rows in tables.items()}
    with Warehouse.over(made) as warehouse:
        facts = read_facts(warehouse, N2, CONFIG)
    (flips,) = facts.flips
    counts = ("num_pairs", "num_consistent", "num_first_twice", "num_half_ties", "num_unreadable")
    assert [flips[name] for name in counts] == [3, 1, 1, 1, 1]
    assert flips["chosen_share"] == pytest.approx(4 / 6)  # a 2 of 2, b 1 of 2, c 0 of 1, d 1 of 1
    assert facts.numbers["position_inconsistency"] == pytest.approx(2 / 3)
    html = page(tables)
    assert "33.3 % (6.1 % to 79.2 %)" in html and HOSTILE not in html
    assert "no pair of this night was judged in both orders" in page(tables, N1)


def ledger_world(completion_tokens: int) -> dict[str, list[dict]]:
    usage = {"problem_id": "p", "stage": "samples", "num_requests": 2, "prompt_tokens": 6, "completion_tokens": 1000}
    stage = {"stage": "rollouts", "num_requests": 2, "prompt_tokens": 6, "completion_tokens": completion_tokens}
    log = {"seconds": 90.0, "policy_id": "m"}
    tables = {"token_usage": [usage], "stage_usage": [stage], "night_log": [log]}
    return {table: [row | {"night": N2} for row in rows] for table, rows in tables.items()}


def test_the_head_of_the_page_and_the_last_line_of_the_ledger_agree_with_the_stages():
    html = page(world() | ledger_world(1000))
    # of the evaluation nobody recorded what the engine did; its six samples have 120 tokens, its greedy ones 40
    assert "1,160 tokens generated<" in html and "1.5 minutes (all stages before this page, added up)" in html
    replayed = page(world() | ledger_world(300))
    assert "1,160 completion tokens, 460 generated and 700 replayed" in replayed
    last = re.search(r"<tr><td ><b>all</b></td><td >what the engine did</td>(.*?)</tr>", replayed)[1]
    assert re.findall(r">(.*?)</td>", last)[2] == "460"


def test_a_night_without_recorded_stages_says_whether_it_came_to_its_end():
    usage = {"token_usage": ledger_world(1)["token_usage"]}
    assert "which this one has not reached" in page(world() | usage)
    log = {"night_log": [{"night": N2, "policy_id": "m"}]}
    html = page(world() | usage | log)
    assert "before this was done" in html and "1,160 tokens generated or replayed" in html


def test_greedy_decoding_of_the_shipped_policy_is_known_however_many_nights_have_come_since(monkeypatch):
    monkeypatch.setattr("pipelines.night_report.facts.MAX_NIGHTS", 1)
    tables = world()
    first = tables["policy_report"][0] | {"accuracy": 0.25, "night": N1}
    html = page(tables | {"policy_report": [*tables["policy_report"], first]})
    section = re.search(r'<section id="pass">(.*?)</section>', html, re.DOTALL)[1]
    assert re.search(r"<td >greedy</td>(.*?)</tr>", section)[1].count("25.0 %") == 1
    assert "the dashed level is greedy decoding tonight" in html


def test_without_greedy_decoding_no_level_is_promised():
    html = page(world() | {"policy_report": []})
    assert "greedy decoding was not measured tonight" in html and "dashed level" not in html


def test_the_flow_begins_with_problems_and_not_with_their_rollouts():
    html = page(world())
    assert ">2, 6 rollouts</text>" in html and ">filter, or beside it</text>" in html


def test_exploitation_shows_how_many_problems_keep_a_sample():
    # lowest step scores are .8: right samples score 1.16, wrong ones .16; p and q have both
    html = page(world())
    assert "problems with a selected sample" in html and "2 of 2 problems" in html and "0 of 2 problems" in html
    assert "right among selected" not in html


def test_the_audit_says_that_the_critics_word_is_a_probability():
    html = page(world())
    assert "by the critic&#x27;s probabilities" in html and "as the critic says" not in html


def test_a_night_knows_nothing_of_later_ones():
    made = {table: rows_to_table(table, rows) for table, rows in world().items()}
    with Warehouse.over(made) as warehouse:
        facts = read_facts(warehouse, N1, CONFIG)
    assert (facts.nights, facts.previous) == ((N1,), None)


# files ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path) -> Settings:
    settings = Settings.model_validate({"root": tmp_path, "night_report": {"num_audited": 2}})
    lake = Lake(settings.lake_url)
    for table, rows in world().items():
        for night in {row.get("night", "all") for row in rows}:
            of_night = [row for row in rows if row.get("night", "all") == night]
            lake.write(table, rows_to_table(table, of_night), partition=night, lineage={"engine": "scripted"})
    return settings


def test_the_report_is_written_from_the_lake_alone_and_says_what_an_alert_says(settings):
    lake = Lake(settings.lake_url)
    path, _ = write_report(settings, lake, N2)
    assert path == report_path(settings, N2).absolute() and 'class="verdict hold"' in path.read_text()
    write_alert(settings.state_dir, Alert(N2, "night_failed", "critiques: no room", "r1", "2026-01-02T03:00:00+00:00"))
    assert "critiques: no room" in write_report(settings, lake, N2)[0].read_text()
    assert "critiques: no room" not in write_report(settings, lake, N2, is_under_way=True)[0].read_text()


def test_the_log_tells_model_engine_verdict_and_configuration(settings):
    lake = Lake(settings.lake_url)
    (row,) = log_rows(settings, lake, N2).to_pylist()
    assert (row["policy_id"], row["policy_version"], row["engine"]) == ("m", f"v{N2}", "scripted")
    assert (row["verdict"], row["reason"], row["dataset_version"], row["seconds"]) == ("hold", "drift", None, None)
    assert json.loads(row["config"])["night_report.num_audited"] == 2
    with Warehouse(lake) as warehouse:
        metrics = metrics_rows(warehouse, settings, N2).to_pylist()
    assert {row["metric"] for row in metrics} >= {"pass1", "distinct_solution_share", "length_p50"}


def test_a_password_in_the_configuration_does_not_reach_the_log(settings):
    engine = settings.engine.model_copy(update={"extra_args": ("--api-key=abcdef123456",)})
    (row,) = log_rows(settings.model_copy(update={"engine": engine}), Lake(settings.lake_url), N2).to_pylist()
    assert "abcdef123456" not in row["config"]


def test_alerts_are_kept_until_they_are_cleared_and_hold_no_credentials(tmp_path):
    alert = Alert(N1, "night_failed", "https://ann:secret@host is down", "r", "now")
    write_alert(tmp_path, alert)
    assert read_alert(tmp_path, N1).reason == "https://***@host is down"
    assert [one.night for one in list_alerts(tmp_path)] == [N1]
    clear_alert(tmp_path, N1)
    clear_alert(tmp_path, N1)
    assert read_alert(tmp_path, N1) is None


CERTIFICATE = {
    "by_problem": {"sft": {"num_held_out": 0, "num_evaluation": 3, "num_unknown": 5}},
    "n": 13,
    "min_words": 6,
    "by_words": [
        {"items": [{"name": name, "num_items": 10, "num_too_short": 4}],
         "sets": {"sft": {"num_rows": 9, "num_tested": 8, "num_contaminated": found}}}
        for name, found in (("held-out problems", 1), ("a benchmark", 2))
    ],
}  # fmt: skip


def version_section(**known: object) -> str:
    sets = {"sft": [{"rollout_id": "p-0-" + N2, "night": N2}]}
    return re.search(r'<section id="changes">(.*?)</section>', page(world() | sets, **known), re.DOTALL)[1]


def test_the_certificate_is_a_row_per_set_with_the_worst_of_all_lists():
    body = version_section(manifest={"version": "v2", "contamination": CERTIFICATE})
    assert re.findall(r'<td class="n">(.*?)</td>', body.partition("Contamination")[2]) == [
        "0", '<b class="warn">3</b>', '<b class="warn">5</b>', "8", '<b class="warn">2</b>',
    ]  # fmt: skip
    assert "held-out problems (10 texts, 4 too short to test); a benchmark" in body


def test_texts_that_share_words_with_held_out_problems_are_named_beside_them(settings):
    """Of two texts of the set one has a held-out problem's six words in it; the certificate itself only counts."""
    held_out = {"problem_id": "h", "prompt": "Ann has two apples and three pears", "split": "held_out"}
    asked = ["Question: Ann has two apples and three pears. How many?", "Bob has nine plums and eats one of them"]
    tables = {
        "problems": [held_out],
        "sft": [{"problem_id": "p", "prompt": prompt, "night": N2} for prompt in asked],
    }
    counts = {"items": [], "sets": {"sft": {"num_rows": 2, "num_tested": 2, "num_contaminated": 1}}}
    manifest = {"contamination": {"n": 13, "min_words": 6, "by_words": [counts]}}
    with Warehouse.over({table: rows_to_table(table, rows) for table, rows in tables.items()}) as warehouse:
        (found,) = shared_words(settings, warehouse, N2, manifest)
        counts["sets"]["sft"]["num_contaminated"] = 0
        assert shared_words(settings, warehouse, N2, manifest) == []
        assert shared_words(settings, warehouse, N2, None) == []
    assert (found.set_name, found.num_rows, found.text) == ("sft", 1, asked[0])
    assert (found.item, found.item_text) == ("h", held_out["prompt"])
    body = version_section(manifest={"version": "v2", "contamination": CERTIFICATE}, shared=[found])
    assert "<h3>Texts that share words</h3>" in body and asked[0] in body and held_out["prompt"] in body
    gone = version_section(manifest={"version": "v2", "contamination": CERTIFICATE}, shared="b.jsonl is not there")
    assert "Which texts share words is not known: b.jsonl is not there" in gone


def test_distributions_that_moved_are_told_largest_first_and_small_moves_are_not():
    shifts = (
        Shift("num_tokens", 0.25, 0.0, 0.0, (1.0, 36.0, 40.0), (2.0, 48.0, 50.0)),
        Shift("source", 0.5, 0.0, 0.0, (), (), (("a", 1.0),), (("a", 0.5), ("b", 0.5))),
        Shift("reward", 0.09, 0.0, 0.0, (0.0, 0.0, 1.0), (0.0, 1.0, 1.0)),
    )
    of_set = SetDiff("sft", 1, 1, 0, 0, 0, 1, 1, 1, 1, (), (), (), (), (), (), shifts)
    body = version_section(difference=VersionDiff("v1", "v2", (of_set,), (), ()))
    assert body.index("0.50") < body.index("0.25") and "reward" not in body
    assert "36 (1 to 40)" in body and "48 (2 to 50)" in body and "a 50 %, b 50 %" in body
    assert "cannot be read" in version_section(difference="the version v1 cannot be read")


def test_every_number_of_a_night_is_said_in_words():
    named = set(re.findall(r"select '([a-z_0-9]+)'", queries.read("reports/night_numbers").text))
    made = {table: rows_to_table(table, rows) for table, rows in world().items()}
    with Warehouse.over(made) as warehouse:
        named |= set(read_facts(warehouse, N2, CONFIG).numbers)
    assert {"pass1", "judge_bias", "flawed_in_right_audit"} <= named
    assert not {name for name in named if not metric_words(name)}


def test_a_count_on_a_tile_is_a_whole_number():
    sets = {"sft": [{"rollout_id": f"p-{index}-{N2}", "night": N2} for index in range(7)]}
    usage = [{"problem_id": "p", "stage": "samples", "completion_tokens": 7, "night": N2}]
    assert "<span>rows for training</span><b>7</b>" in page(world() | sets | {"token_usage": usage})
