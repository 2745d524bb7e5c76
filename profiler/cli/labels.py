"""Label images: made of single images, judged by the truth, suggested for correction."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profiler.cli.talk import print_table, say, talk
from profiler.interrupt import heeding, stop_signals

if TYPE_CHECKING:
    from profiler.suggest import Looked

GO_ON = (
    "What was written is whole. To go on, put the images that are left into a folder of their own; "
    "--replace begins anew."
)


def segment(
    folder: Annotated[Path, typer.Argument(help="Images, one plane each.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the label TIFFs.")],
    model: Annotated[str, typer.Option(help="Shipped model, or a .safetensors file.")] = "nuclei",
    nuclei: Annotated[
        Path | None, typer.Option(help="With a model of cells: nuclear stains of the same names.")
    ] = None,
    min_area: Annotated[int, typer.Option(min=1, help="Smallest object, in pixels.")] = 25,
    diameter: Annotated[
        str, typer.Option(help="Width of the objects in pixels, auto (estimated) or as-is.")
    ] = "auto",
    min_confidence: Annotated[
        float, typer.Option(help="Leave out objects less likely to be right, 0 to 1.")
    ] = 0.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make label images anew that are there already.")
    ] = False,
) -> None:
    """Find nuclei (or cells: --model cells) in the images of a FOLDER; one label TIFF for each.

    A row for each object, with its place and the probability that it is right, is in objects.csv.
    """
    from profiler.compute.object_table import OBJECTS
    from profiler.images import segment_folder
    from profiler.progress import draw_images
    from profiler.segment.compartments import CellsConfig
    from profiler.segment.label_files import left_out
    from profiler.segment.segmenter import SegmentConfig
    from profiler.segment.stains import without_nuclei

    wide = {"auto": "auto", "as-is": None}.get(diameter, diameter)
    try:
        wide = wide if wide in ("auto", None) else float(wide)
    except ValueError:
        raise typer.BadParameter(f"--diameter {diameter}: a number, auto or as-is") from None
    if not 0 <= min_confidence < 1:
        raise typer.BadParameter(f"--min-confidence {min_confidence:g}: from 0 to less than 1")
    say(_others(left_out(folder)))
    if nuclei is not None:
        say(_alone(without_nuclei(nuclei, folder), nuclei))
    cells = CellsConfig(min_confidence=min_confidence)
    config = SegmentConfig(model=model, diameter_px=wide, min_area_px=min_area, cells=cells)
    done = segment_folder(folder, out, config=config, nuclei=nuclei, replace=replace)
    with stop_signals(at_once=True) as sign, closing(done):
        try:
            draw_images(heeding(done, sign), out=out, table=OBJECTS)
        except KeyboardInterrupt:
            talk(f"Interrupted. {GO_ON}")
            raise typer.Exit(sign.exit_code) from None


def _others(names: list[str]) -> Iterator[str]:
    """Tell of files that are passed over."""
    if names:
        what = "file that is" if len(names) == 1 else "files that are"
        yield f"{len(names)} {what} no TIFF or PNG by the ending: left out ({_some(names)})."


def _alone(names: list[str], nuclei: Path) -> Iterator[str]:
    """Tell of images without a nuclear stain."""
    if names:
        what = "image has" if len(names) == 1 else "images have"
        found = "found by the cell stain alone"
        yield f"{len(names)} {what} no nuclear stain in {nuclei}: {found} ({_some(names)})."


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + ", ..." * (len(names) > most)


def evaluate(
    found: Annotated[Path, typer.Argument(help="Label images that were made.")],
    truth: Annotated[Path, typer.Argument(help="True label images of the same names.")],
    specks: Annotated[
        int, typer.Option(min=0, help="Objects of fewer pixels are dropped on both sides.")
    ] = 25,
    ignore: Annotated[
        int | None,
        typer.Option(help="Label of true pixels nobody looked at, as in `train segmenter`."),
    ] = None,
    images: Annotated[bool, typer.Option("--images", help="One row per image.")] = False,
) -> None:
    """Judge label images by the truth: AP, F1, PQ, splits, merges, with 95% intervals, as CSV.

    A score that is undefined, such as the precision where nothing was found, is empty.
    """
    from profiler.segment.evaluation.folders import evaluate as judge

    judged = judge(found, truth, speck_px=specks, ignore=ignore)
    say(judged.notes)
    print_table(judged.images if images else judged.scores)


def suggest(
    where: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run (a folder or an address), or images.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets images/, labels/ and a list.")],
    fields: Annotated[int, typer.Option(min=1, help="How many to write.")] = 10,
    sample: Annotated[int, typer.Option(min=1, help="How many to look at.")] = 200,
    model: Annotated[str | None, typer.Option(help="Network to judge by.")] = None,
) -> None:
    """Write the fields of a RUN whose correction by hand would teach `train segmenter` most.

    Fields that show nothing doubtful are left out.
    """
    from profiler.progress import draw_looks
    from profiler.suggest import LIST, Fewer, Wanted
    from profiler.suggest import suggest as events

    notes: list[str] = []

    def looks() -> "Iterator[Looked]":
        for event in events(where, out, wanted=Wanted(fields, sample, model)):
            if isinstance(event, Fewer):
                notes.append(event.sentence)
            else:
                yield event

    draw_looks(looks())
    say(notes)
    typer.echo((out / LIST).read_text(), nl=False)
    talk(f"Correct {out / 'labels'}, then: profiler train segmenter {out} --from nuclei ...")
