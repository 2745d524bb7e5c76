"""What lies in a microscope's folder, before anything is computed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import talk
from profiler.cli.words import Plates, RecipeName


class Store(StrEnum):
    """What a plate can be written as."""

    ome_zarr = "ome-zarr"
    ome_zarr_04 = "ome-zarr-0.4"
    hdf5 = "hdf5"


def scan(plates: Plates, recipe: RecipeName = "", planes: bool = False) -> None:
    """Say what is in PLATE folders, without computing anything; --planes lists every file."""
    from profiler import overview

    table = overview.planes(plates, recipe=recipe or None)
    typer.echo(table.write_csv() if planes else overview.describe(table), nl=not planes)


def convert(
    plate: Annotated[str, typer.Argument(help="Plate folder, index file or fsspec address.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to make.")],
    to: Annotated[Store, typer.Option(help="Its format.")] = Store.ome_zarr,
) -> None:
    """Write a PLATE anew as OME-Zarr (extra `zarr`) or HDF5; stdout lists the planes lost."""
    from plates.convert import convert as events

    for event in events(plate, out, to=to.value):
        for lost in event.unread:
            typer.echo(f"{event.key.well} site {event.key.site} {lost.channel}: {lost.message}")
    talk(f"Written: {out}.")


def readers() -> None:
    """List the folder layouts that can be read."""
    from plates.readers import READERS

    typer.echo("\n".join(f"{name:12} {reader.needs}" for name, reader in READERS.items()))
