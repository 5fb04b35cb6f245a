"""`reasonmill datasets rebuild NAME@VERSION --to DIR`: the same files again, without asking a model."""

import os
from pathlib import Path
from typing import Annotated

import typer


def rebuild(
    version: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="or a version, a pin, or a folder that was pulled")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="folder of datasets that the version is made in")],
    store: Annotated[Path | None, typer.Option(help="response store; default: the workspace's")] = None,
    keep_critics: Annotated[
        bool, typer.Option("--keep-critics", help="score with the workspace's critics of that night, not trained again")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="go on although the code is another one")] = False,
) -> None:
    """Make a version again from its manifest and the response store, and hold it against its checksums."""
    from rich.console import Console

    from pipelines.config import load_settings
    from pipelines.datasets.rebuild import check_source, other_models
    from pipelines.datasets.versions import DatasetStore
    from pipelines.errors import WorkspaceError
    from reasonmill.cli.dataset_diff import find_version
    from reasonmill.cli.demo import live_progress

    settings = load_settings()
    found = find_version(settings, DatasetStore(settings.datasets_url), version)
    console = Console(highlight=False)
    problem = check_source(found.manifest)
    if problem is not None and not force:
        raise WorkspaceError(problem)
    if problem is not None:
        console.print(f"Warning: {problem}", markup=False, soft_wrap=True)
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.pop("DAGSTER_HOME", None)  # a rebuilt night is no night of this instance
    from assets.rebuild import rebuild_version

    with live_progress(console) as on_progress:
        made = rebuild_version(
            found, settings, to.absolute(), store=store and store.absolute(), keeps_critics=keep_critics,
            on_progress=on_progress,
        )  # fmt: skip
    for file in made.files:
        state = "identical" if file.is_same else "missing" if file.found_sha256 is None else "DIFFERS"
        console.print(f"{state:<10} {file.path}  {file.expected_sha256[:12]}", markup=False, soft_wrap=True)
    console.print(
        f"{made.seconds:.0f} seconds, {made.num_model_calls} model calls, {made.num_from_store:,} answers from the "
        f"store; {made.version.path}",
        markup=False,
        soft_wrap=True,
    )
    for sentence in other_models(found.manifest, made.version.manifest):
        console.print(sentence, markup=False, soft_wrap=True)
    if not made.is_same:
        num = sum(not file.is_same for file in made.files)
        raise WorkspaceError(
            f"{num} of {len(made.files)} files of {found.version} came out otherwise. `reasonmill datasets diff "
            f"{found.path} {made.version.path}` shows which rows."
        )
