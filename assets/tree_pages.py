"""Pages of a few exemplary trees, linked from the metadata of `search_nodes`, `first_errors` and `preference_pairs`.

The search writes them with outcomes and first wrong steps by gold labels; the extracts and the pairs, made later, write
the same files again with estimated first errors and with the kept pairs in place. They lie in the workspace's state
folder and are for looking only: no row depends on them.
"""

import dagster as dg

from assets.links import page_link
from pipelines.config import Settings
from pipelines.trees.find import write_pages
from pipelines.warehouse import Warehouse

NUM_PAGES = 3


def tree_pages(settings: Settings, warehouse: Warehouse, night: str) -> dict[str, dg.UrlMetadataValue]:
    """Writes pages of the night's most mixed and largest trees; `tree_page_1` links to the first one's."""
    folder = settings.state_dir / "trees" / night
    pages = write_pages(warehouse, night, folder, NUM_PAGES)
    return {f"tree_page_{number}": page_link(settings, page) for number, page in enumerate(pages, start=1)}
