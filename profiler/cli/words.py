"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as made by `run`.")]
Plates = Annotated[
    list[Path], typer.Argument(metavar="PLATE...", help="Plate folders or LoadData CSVs.")
]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="Built-in recipe, or a .toml file.")
]
Sections = Annotated[
    str,
    typer.Option("--recipe", "-r", help="Recipe whose section for this stage is used from now on."),
]
