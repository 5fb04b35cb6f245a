"""A backfill as the UI starts it, with a killed run, a killed daemon and a killed code server."""

from pathlib import Path

import pytest

from tests.benchmarks.backfill import NIGHTS, measure


@pytest.mark.slow
def test_a_backfill_whose_run_and_daemon_are_killed_frees_the_engine_and_loses_no_row(tmp_path: Path):
    result = measure(tmp_path, NIGHTS[:2], "search_nodes,search_edges,rollouts,token_usage,gold_steps")
    assert result["complaint"] == ""
    assert result["num_rows"] > 100
