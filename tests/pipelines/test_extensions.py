import pytest

from pipelines.config import ExtensionsConfig, Settings
from pipelines.errors import WorkspaceError
from pipelines.extensions import extension_digest, extension_names, load_extension
from pipelines.grading import graders_of

PROBLEM = {"problem_id": "p1", "prompt": "x", "reference_answer": "B"}


def settings_with(folder, code, **graders):
    (folder / "mine.py").write_text(code)
    return Settings(root=folder, extensions=ExtensionsConfig(graders=graders))


def test_a_grader_of_the_user_is_found_by_name_and_used(tmp_path):
    code = "def first_letter(problem, answer, steps):\n    return float(answer[0] == problem['reference_answer'])\n"
    settings = settings_with(tmp_path, code, letter="mine.py:first_letter")
    grade = graders_of(settings)
    assert grade("letter", PROBLEM, "B: because", ["B: because"]) == 1.0
    assert grade("letter", PROBLEM, "C", []) == 0.0
    assert grade("exact", PROBLEM, "B", []) == 1.0
    assert extension_names(settings, "graders") == ["letter"]


def test_errors_of_the_user_s_code_name_file_line_and_exception(tmp_path):
    grade = graders_of(
        settings_with(tmp_path, "def bad(problem, answer, steps):\n    return answer.foo\n", bad="mine.py:bad")
    )
    with pytest.raises(
        WorkspaceError, match=r"`bad` failed on problem p1 .* mine.py, line 2: AttributeError|mine.py, line 2"
    ):
        grade("bad", PROBLEM, "B", [])
    with pytest.raises(WorkspaceError, match=r"mine.py, line 2: SyntaxError"):
        load_extension(settings_with(tmp_path, "x = 1\ndef (\n"), "graders", "mine.py:f")
    with pytest.raises(WorkspaceError, match=r"mine.py, line 1: ModuleNotFoundError"):
        load_extension(settings_with(tmp_path, "import no_such_module\n"), "graders", "mine.py:f")


def test_a_grade_that_is_neither_0_nor_1_is_refused(tmp_path):
    grade = graders_of(
        settings_with(tmp_path, "def half(problem, answer, steps):\n    return 0.5\n", half="mine.py:half")
    )
    with pytest.raises(WorkspaceError, match="gave 0.5 for problem p1"):
        grade("half", PROBLEM, "B", [])


def test_what_is_not_there_is_explained(tmp_path):
    settings = Settings(root=tmp_path)
    with pytest.raises(WorkspaceError, match="absent.py of the extension .* is not there"):
        load_extension(settings, "filters", "absent.py:f")
    with pytest.raises(WorkspaceError, match="no filter called `nothing`"):
        load_extension(settings, "filters", "nothing")
    (tmp_path / "mine.py").write_text("f = 3\n")
    with pytest.raises(WorkspaceError, match="is a int; a function is needed"):
        load_extension(settings, "filters", "mine.py:f")


def test_the_digest_follows_the_code(tmp_path):
    settings = settings_with(tmp_path, "def f():\n    return 1\n")
    before = extension_digest(load_extension(settings, "filters", "mine.py:f"))
    settings = settings_with(tmp_path, "def f():\n    return 2\n")
    assert extension_digest(load_extension(settings, "filters", "mine.py:f")) != before
