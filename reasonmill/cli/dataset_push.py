"""`reasonmill datasets push NAME@VERSION OWNER/NAME`: a version as one tagged commit of a hub's repository."""

from typing import Annotated

import typer


def push(
    version: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="or a version, a pin, or a folder")],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="dataset repository; made where it is not there")
    ],
    public: Annotated[bool, typer.Option("--public", help="a new repository is public; default: private")] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="address of the hub; default: HF_ENDPOINT, or the library's")
    ] = None,
) -> None:
    """Push a version to a hub: one commit with every file, tagged with the version's name."""
    from pipelines.config import load_settings
    from pipelines.datasets.hub import push_version
    from pipelines.datasets.versions import DatasetStore
    from reasonmill.cli.dataset_diff import find_version

    settings = load_settings()
    found = find_version(settings, DatasetStore(settings.datasets_url), version)
    pushed = push_version(found, repository, is_private=not public, endpoint=endpoint)
    typer.echo(
        f"{pushed.repository}: {pushed.num_files} files, {pushed.num_deleted} of an earlier version deleted; load it "
        f'with load_dataset("{pushed.repository}", SET, revision="{pushed.revision}")'
    )
