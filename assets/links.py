"""Links of the UI to pages of the workspace: a browser that shows Dagster follows none to a file."""

from pathlib import Path
from urllib.parse import urlencode

import dagster as dg

from pipelines.config import Settings


def page_link(settings: Settings, page: Path) -> dg.UrlMetadataValue:
    """The address of a page of the state folder, where `reasonmill nights serve` or the user's own server shows it."""
    inside = page.absolute().relative_to(settings.state_dir.absolute())
    return dg.MetadataValue.url(f"{settings.night_report.pages_url}/{inside.as_posix()}")


def lineage_link(settings: Settings, row_id: str | None = None) -> str:
    """The address of a row's lineage there; without a row, of the page that asks for one."""
    query = f"?{urlencode({'row': row_id})}" if row_id else ""
    return f"{settings.night_report.pages_url}/lineage{query}"
