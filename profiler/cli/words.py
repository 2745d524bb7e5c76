"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder or address, as --out of `run`.")
]
Plates = Annotated[
    list[Path],
    typer.Argument(
        metavar="PLATE...", help="Plate folders, LoadData CSVs or addresses (s3://...)."
    ),
]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
Weights = Annotated[Path, typer.Option("--out", "-o", help="Weights to write, .safetensors.")]
Rate = Annotated[float, typer.Option(min=0, help="Peak learning rate.")]
Half = Annotated[bool, typer.Option("--bfloat16", help="Half precision, for GPUs.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="An earlier network goes when this one is done.")
]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="Built-in recipe, or a .toml file.")
]
Sections = Annotated[
    str,
    typer.Option("--recipe", "-r", help="Recipe whose section for this stage is used from now on."),
]
Layout = Annotated[Path | None, typer.Option(help="Plate map: CSV or TSV, or a folder by barcode.")]
Compounds = Annotated[Path | None, typer.Option(help="What is known of the compounds: CSV or TSV.")]
SaveLabels = Annotated[bool, typer.Option("--save-labels", help="Keep label images.")]
Batch = Annotated[
    int | None, typer.Option(min=1, help="Fields computed together; by default what fits.")
]
