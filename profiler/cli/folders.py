"""What lies in a microscope's folder, before anything is computed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import talk
from profiler.cli.unattended import SOME_FAILED
from profiler.cli.words import Plates, RecipeName
from profiler.interrupt import heeding, stop_signals


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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the plate into.")],
    to: Annotated[Store, typer.Option(help="Its format.")] = Store.ome_zarr,
    recipe: RecipeName = "",
) -> None:
    """Write a PLATE anew as OME-Zarr (extra `zarr`) or HDF5; lists what is lost, then exit is 3."""
    from plates.convert import ProfileLost
    from plates.convert import convert as events
    from profiler.overview import reading

    lost, unlit, written = 0, 0, dict[Path, None]()
    with stop_signals(at_once=True) as sign:
        try:
            for event in heeding(events(plate, out, to=to.value, **reading(recipe)), sign):
                written[event.plate] = None
                if isinstance(event, ProfileLost):
                    typer.echo(f"{event.channel}: {event.message}")
                    unlit += 1
                    continue
                lost += len(event.unread)
                for plane in event.unread:
                    where = f"{event.key.well} site {event.key.site} {plane.channel}"
                    typer.echo(f"{where}: {plane.message}")
        except KeyboardInterrupt:
            talk("Interrupted. Plates that were whole are kept; nothing is left of the last one.")
            raise typer.Exit(sign.exit_code) from None
    talk(f"Written: {', '.join(map(str, written))}.")
    if lost:
        talk(f"Planes that could not be read and are not in it: {lost:,}.")
    if unlit:
        talk(
            f"Shading profiles of the microscope that could not be read and are not in it: {unlit}."
        )
    raise typer.Exit(SOME_FAILED if lost or unlit else 0)


def readers() -> None:
    """List the folder layouts that can be read."""
    from plates.readers import READERS

    typer.echo("\n".join(f"{name:12} {reader.needs}" for name, reader in READERS.items()))
