"""Command line: parse, call one function, draw. No science here.

One file per kind of command; below they are in the order of `profiler --help`.
"""

import sys

import typer

from plates.errors import ProfilingError
from profiler.cli.aggregators import aggregator
from profiler.cli.classes import classifier, classify, suggest_cells
from profiler.cli.embedders import encoder, imagenet
from profiler.cli.explain import explain
from profiler.cli.folders import convert, readers, scan
from profiler.cli.labels import evaluate, segment, suggest
from profiler.cli.machine import doctor, recipes
from profiler.cli.networks import models, segmenter
from profiler.cli.night import demo, run
from profiler.cli.tables import hits, phenotype, profile, query, report
from profiler.cli.unattended import watch

NIGHT = (demo, scan, run, watch)
TABLES = (profile, hits, phenotype, report, query)
NETWORKS = (segment, evaluate, suggest, imagenet)
CLASSES = (classify, suggest_cells, explain)
ABOUT = (convert, readers, recipes, models, doctor)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="From a night's screening plates to ranked hits.",
)
train = typer.Typer(no_args_is_help=True, help="Train networks and classifiers on your own labels.")
for command in (*NIGHT, *TABLES, *CLASSES, *NETWORKS, *ABOUT):
    app.command()(command)
train.command()(segmenter)
train.command()(classifier)
train.command()(encoder)
train.command()(aggregator)
app.add_typer(train, name="train")


def main() -> None:
    """Run, showing fixable errors as one message."""
    try:
        app()
    except ProfilingError as error:
        sys.exit(f"profiler: {error}")
