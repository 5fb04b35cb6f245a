"""The dataset versions that a night's page is about: of any store, whatever state they are in."""

import json
from pathlib import Path

import pytest

from pipelines.config import Settings
from pipelines.datasets.published import with_digest
from pipelines.datasets.versions import MANIFEST
from pipelines.lake import Lake
from pipelines.night_report.write import log_rows, versions_around, write_report
from tests.pipelines.dataset_worlds import NIGHTS, make_settings, publish_night

N1, N2, N3 = NIGHTS


@pytest.fixture(params=["folder", "url"])
def settings(request, tmp_path) -> Settings:
    return make_settings(tmp_path, f"file://{tmp_path}/elsewhere" if request.param == "url" else None)


def spoil(settings: Settings, version: str) -> None:
    """Another number of rows in the manifest than was published."""
    folder = settings.datasets_url.removeprefix("file://")
    path = Path(folder) / "tiny" / version / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_rows": 99}))


def test_a_night_has_its_own_version_and_that_of_the_night_before_it_whenever_they_were_made(settings):
    third, first, second = (publish_night(settings, night).version for night in (N3, N1, N2))

    assert [one.version for one in versions_around(settings, N3)] == [third, second]
    assert [one.version for one in versions_around(settings, N2)] == [second, first]
    assert versions_around(settings, N1)[1] is None
    log = log_rows(settings, Lake(settings.lake_url), N3).to_pylist()
    assert log[0]["dataset_version"] == third


def test_a_damaged_version_is_named_on_the_page_and_stops_no_report(settings):
    first, second = (publish_night(settings, night).version for night in (N1, N2))
    lake = Lake(settings.lake_url)

    spoil(settings, first)
    page = write_report(settings, lake, N2)[0].read_text()
    assert log_rows(settings, lake, N2)["dataset_version"].to_pylist() == [second]
    assert f"{first}" in versions_around(settings, N2)[1]
    assert "Contamination certificate" in page and "cannot be read" not in page

    spoil(settings, second)
    assert log_rows(settings, lake, N2)["dataset_version"].to_pylist() == [None]
    page = write_report(settings, lake, N2)[0].read_text()
    assert "The version of this night cannot be read: The manifest" in page


def test_a_version_that_does_not_say_its_night_counts_as_an_earlier_one(settings):
    version = publish_night(settings, N1).version
    path = Path(settings.datasets_url.removeprefix("file://")) / "tiny" / version / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(with_digest({key: value for key, value in manifest.items() if key != "night"})))

    tonight, before = versions_around(settings, N2)

    assert tonight is None
    assert before.version == version


def test_a_store_that_cannot_be_reached_stops_no_report(tmp_path):
    settings = make_settings(tmp_path)
    publish_night(settings, N1)
    unknown = settings.model_copy(update={"paths": settings.paths.model_copy(update={"datasets": "nowhere://sets"})})

    tonight, before = versions_around(unknown, N1)

    assert tonight == before
    assert "nowhere" in tonight
