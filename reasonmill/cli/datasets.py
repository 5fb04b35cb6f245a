"""`reasonmill datasets`: published versions, listed, shown, pulled, pinned, rolled back and deleted."""

import typer

datasets_app = typer.Typer(help="Published dataset versions.", no_args_is_help=True)


@datasets_app.command("list")
def list_datasets() -> None:
    """List the published versions, newest last."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.config import load_settings
    from pipelines.datasets.versions import list_versions

    settings = load_settings()
    name = settings.publishing.name
    console = Console(highlight=False)
    versions = list_versions(settings.datasets_dir, name)
    if not versions:
        console.print(
            f"No version of {name} is in {settings.datasets_dir} yet; `reasonmill demo` publishes one.", soft_wrap=True
        )
        return
    table = Table("version", "night", "rows", "path", box=None, pad_edge=False)
    for one in versions:
        table.add_row(one.version, str(one.manifest["night"]), f"{one.manifest['num_rows']:,}", str(one.path))
    console.print(table)
