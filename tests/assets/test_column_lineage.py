"""Declared lineage names columns that are there."""

from assets.column_lineage import COMPUTED, SAME, column_lineage
from pipelines.tables import SCHEMAS


def test_every_declared_column_and_source_exists():
    for table, columns in COMPUTED.items():
        for column, sources in columns.items():
            assert column in SCHEMAS[table].names, (table, column)
            for source, name in sources:
                assert name in SCHEMAS[source].names, (table, column, source, name)
    assert all(any(name in schema.names for schema in SCHEMAS.values()) for name in SAME)


def test_an_id_comes_from_the_same_column_upstream_and_nothing_is_guessed():
    lineage = column_lineage("verdicts", ["critiques", "rollouts"]).deps_by_column
    assert [dep.asset_key.to_user_string() for dep in lineage["rollout_id"]] == ["critiques", "rollouts"]
    assert "num_agents" not in lineage
    assert column_lineage("night_metrics", ["stage_usage"]) is None
