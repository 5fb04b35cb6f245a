from pipelines.table_comments import column_comments
from pipelines.tables import SCHEMAS


def test_columns_have_the_comments_of_the_source_under_their_own_names():
    comments = column_comments()

    assert comments["splices"]["value_gap"] == "right_value - wrong_value, [-1, 1]"
    assert comments["evaluation_rollouts"] == comments["rollouts"]
    assert "steps" not in comments["replay"]  # it has none
    assert set(comments) == set(SCHEMAS)
    for table, columns in comments.items():
        assert set(columns) <= set(SCHEMAS[table].names), table
