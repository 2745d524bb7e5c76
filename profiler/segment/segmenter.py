"""The stage's driver: a batch of fields in, their compartments out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from plates.errors import BadModel, BadRecipe
from profiler.segment.compartments import (
    CellsConfig,
    Compartments,
    compartments,
    compartments_cpu,
)
from profiler.segment.confidence.calibration import Calibration, probability, read_calibration
from profiler.segment.confidence.evidence import (
    Evidence,
    PerNucleus,
    Sums,
    add_up,
    most_nuclei,
    weigh,
)
from profiler.segment.confidence.evidence_cpu import add_up_cpu
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.heads import HEADS
from profiler.segment.heads.head import Head
from profiler.segment.joining.join import read_joining
from profiler.segment.joining.joiner import joiner
from profiler.segment.look import program
from profiler.segment.score import SPECK_PX
from profiler.segment.sizes import (
    Seen,
    find_scale,
    put_together,
    scale_for,
    sizes_served,
    typical_diameter,
)
from profiler.segment.weights import Card, load_network
from profiler.shapes import Image, Images, Labels, Stains

NUCLEUS_PX = 28.0  # of fields as they are, where the network's card does not say


@dataclass(frozen=True)
class SegmentConfig:
    """What to segment, and how.

    Attributes:
        nuclei_channel: Index of the nuclear stain in an image's last axis.
        cells_channel: Index of the cell stain.
        model: Shipped model or path of weights, of nuclei.
        cells_model: Likewise of whole cells, for `cells.method` "network".
        diameter_px: How wide nuclei are, in the images' pixels: fields are scaled so that the
            network sees them as in training. "auto" estimates it for each field from what is
            found; None leaves fields as they are, and has a network of whole cells take nuclei
            to be as wide as the nuclei network's own.
        min_area_px: Smaller nuclei are specks.
        cells: How cells are found around them.
        max_cells: Rows of the tables to come.
    """

    nuclei_channel: int = 0
    cells_channel: int = 0
    model: str = "nuclei"
    cells_model: str = "cells"
    diameter_px: float | Literal["auto"] | None = None
    min_area_px: int = SPECK_PX
    cells: CellsConfig = CellsConfig()
    max_cells: int = 1024


class Examined(NamedTuple):
    """The nuclei of one field, and how far they can be trusted.

    Attributes:
        nuclei: 1 and up.
        evidence: What speaks for each, row i for label i + 1, with room for as many as the field
            could hold.
        confidence: How likely each is right, likewise; NaN if the network is not calibrated.
    """

    nuclei: Nuclei
    evidence: Evidence
    confidence: PerNucleus


@dataclass(frozen=True)
class Segmenter:
    """A loaded network, compiled once for each field size and scale.

    Attributes:
        card: What the network is.
        cells_card: What the network of whole cells is; None where none takes part.
        nuclei: One plane [height, width], or [height, width, channel] for a network that sees
            several stains, to `Nuclei`.
        examine: The same, and how likely each is right.
        whole_cells: One image [height, width, channel], and the labels of its nuclei, to what the
            network of whole cells sees; None where none takes part.
        segment: A batch of images, scaled to 0 to 1, to `Compartments` with a batch axis.
    """

    card: Card
    cells_card: Card | None
    nuclei: Callable[[Stains], Nuclei]
    examine: Callable[[Stains], Examined]
    whole_cells: Callable[[Image, Labels], Seen] | None
    segment: Callable[[Images], Compartments]

    @property
    def cards(self) -> tuple[Card, ...]:
        """Of all networks that take part."""
        return (self.card,) if self.cells_card is None else (self.card, self.cells_card)

    @property
    def weights(self) -> str:
        """Hashes of their weights, joined by "+"."""
        return "+".join(card.sha256 for card in self.cards)


Look: TypeAlias = Callable[[Stains, float], Seen]
See: TypeAlias = Callable[[Stains], Seen]
SeeCells: TypeAlias = Callable[[Image, Labels], Seen]
Examine: TypeAlias = Callable[[Seen], Examined]
Segment: TypeAlias = Callable[[Images], Compartments]


def load_segmenter(config: SegmentConfig, *, backend: str | None = None) -> Segmenter:
    """Load a network and compile the stage around it.

    Args:
        config: See `SegmentConfig`.
        backend: "cpu" or an accelerator's name; by default, where JAX runs.

    Raises:
        UnknownName: No such model.
        BadModel: Its files cannot be used, or a diameter is asked for and its card has none.
        BadRecipe: The diameter is beyond what fields can be scaled by, or doubtful nuclei are to
            be dropped and the network is not calibrated.
    """
    is_cpu = (backend or jax.default_backend()) == "cpu"
    card, look = _load(config.model, config.min_area_px, is_cpu=is_cpu)
    calibration = read_calibration(card.calibration, model=config.model)
    _check_confidence(calibration, config)
    if config.diameter_px == "auto":
        see = partial(find_scale, look, trained_px=_trained(card))
    else:
        see = partial(_at, look, _scale(card, config.diameter_px))
    cells_card, see_cells = _load_cells(config, card, is_cpu=is_cpu)
    examine = examiner(calibration, min_area_px=config.min_area_px, is_cpu=is_cpu)
    drive = _by_field
    if not is_cpu:
        drive = _cells_at_once if config.diameter_px == "auto" else _at_once
    return Segmenter(
        card,
        cells_card,
        nuclei=lambda field: see(field).nuclei,
        examine=lambda field: examine(see(field)),
        whole_cells=see_cells,
        segment=drive(see, examine, config, see_cells),
    )


def _load(model: str, min_area_px: int, *, is_cpu: bool) -> tuple[Card, Look]:
    """Load a network, and compile what it sees in a field at each scale."""
    weights, network, card = load_network(model)
    head = with_min_area(HEADS[network.head], min_area_px)
    together = joiner(
        read_joining(card.joining, model=model), min_area_px=min_area_px, is_cpu=is_cpu
    )
    graph, state = nnx.split(weights)
    find = program(graph, network, head)

    def look(field: Stains, scale: float) -> Seen:
        seen, grey = find((state,), field, scale)
        return put_together(together, seen, grey, scale=scale)

    return card, look


def _load_cells(
    config: SegmentConfig, nuclei: Card, *, is_cpu: bool
) -> tuple[Card | None, SeeCells | None]:
    """Load the network of whole cells, which sees them at a scale that hangs on the nuclei."""
    if config.cells.method != "network":
        return None, None
    _check_stains(config)
    card, look = _load(config.cells_model, config.min_area_px, is_cpu=is_cpu)
    trained_px = card.nucleus_px
    if trained_px is None:
        raise BadModel(
            f"The model {config.cells_model!r} finds nuclei, not whole cells (its card has no "
            "nucleus_px). Use the shipped model 'cells', or one that was trained from it."
        )
    stains = [config.cells_channel, config.nuclei_channel][: card.architecture["channels"]]

    if isinstance(config.diameter_px, float | int):
        _check_served(config.diameter_px, trained_px, name=card.name)

    def scale(labels: Labels) -> float:
        asked = config.diameter_px
        width = typical_diameter(np.asarray(labels)) if asked == "auto" else asked
        return scale_for(width or nuclei.diameter_px or NUCLEUS_PX, trained_px=trained_px)

    return card, lambda image, labels: look(image[..., jnp.array(stains)], scale(labels))


def _check_stains(config: SegmentConfig) -> None:
    if config.cells_channel == config.nuclei_channel:
        raise BadRecipe(
            'method = "network" finds cells in a cell stain; the recipe names none but that of the '
            'nuclei. Name one ([segment] cells = "..."), or use method = "ring".'
        )


def _check_confidence(calibration: Calibration | None, config: SegmentConfig) -> None:
    if config.cells.min_confidence > 0 and calibration is None:
        raise BadRecipe(
            f"min_confidence is {config.cells.min_confidence:g}; the model {config.model!r} is not "
            "calibrated, so that no confidence is known. Leave min_confidence out, or calibrate "
            "it: `profiler train segmenter` does where images kept apart show enough errors."
        )


def examiner(calibration: Calibration | None, *, min_area_px: int, is_cpu: bool) -> Examine:
    """Make a function that weighs what speaks for the nuclei of a field.

    Args:
        calibration: The network's own; None leaves confidences unknown.
        min_area_px: Smaller nuclei are specks, so that there is room for no more.
        is_cpu: Whether it runs there.
    """
    if is_cpu:
        return partial(_examine_cpu, calibration, min_area_px)
    return partial(jax.jit(_examine, static_argnums=(0, 1)), calibration, min_area_px)


def _examine(calibration: Calibration | None, min_area_px: int, seen: Seen) -> Examined:
    most = most_nuclei(seen.labels.size, min_area_px)
    evidence = weigh(add_up(seen.labels, seen.maps, most=most))
    return Examined(seen.nuclei, evidence, probability(evidence, calibration))


def _examine_cpu(calibration: Calibration | None, min_area_px: int, seen: Seen) -> Examined:
    most = most_nuclei(seen.labels.size, min_area_px)
    sums = add_up_cpu(*map(np.asarray, (seen.labels, *seen.maps)), most=most)
    return Examined(seen.nuclei, *_judge(sums, calibration))


@partial(jax.jit, static_argnums=1)
def _judge(sums: Sums, calibration: Calibration | None) -> tuple[Evidence, PerNucleus]:
    evidence = weigh(sums)
    return evidence, probability(evidence, calibration)


def with_min_area(head: Head, min_area_px: int) -> Head:
    """Have a head drop nuclei of fewer pixels."""
    return replace(head, settings=replace(head.settings, min_area_px=min_area_px))


def _at(look: Look, scale: float, field: Stains) -> Seen:
    return look(field, scale)


def _scale(card: Card, diameter_px: float | None) -> float:
    if diameter_px is None:
        return 1.0
    _check_served(diameter_px, _trained(card), name=card.name)
    return scale_for(diameter_px, trained_px=_trained(card))


def _check_served(diameter_px: float, trained_px: float, *, name: str) -> None:
    smallest, largest = sizes_served(trained_px)
    if not smallest <= diameter_px <= largest:
        raise BadRecipe(
            f"diameter_px is {diameter_px:g}; the model {name!r} serves nuclei of "
            f"{smallest:.1f} to {largest:.0f} px. Give the diameter in the images' own pixels, or "
            f"{'enlarge' if diameter_px < smallest else 'bin'} the images."
        )


def _trained(card: Card) -> float:
    if card.diameter_px is None:
        raise BadModel(
            f"The model {card.name!r} was trained on nuclei of mixed sizes (its card has no "
            "diameter_px), so fields cannot be brought to its own. Leave diameter_px out of the "
            "recipe; on the command line, --diameter as-is."
        )
    return card.diameter_px


def _by_field(
    see: See, examine: Examine, config: SegmentConfig, see_cells: SeeCells | None = None
) -> Segment:
    """Field after field: on a CPU batching gains nothing, and loops run on the host."""

    def one(image: Image) -> Compartments:
        found = examine(see(image[..., config.nuclei_channel]))
        cells = see_cells and see_cells(image, found.nuclei.labels)
        return _around(compartments_cpu, image, found, config, cells)

    def batch(images: Images) -> Compartments:
        fields = [one(image) for image in jnp.asarray(images)]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *fields)

    return batch


def _at_once(
    see: See, examine: Examine, config: SegmentConfig, see_cells: SeeCells | None = None
) -> Segment:
    """The whole batch in one program that never leaves the device."""

    def one(image: Image) -> Compartments:
        found = examine(see(image[..., config.nuclei_channel]))
        cells = see_cells and see_cells(image, found.nuclei.labels)
        return _around(compartments, image, found, config, cells)

    return jax.jit(jax.vmap(one))


def _cells_at_once(
    see: See, examine: Examine, config: SegmentConfig, see_cells: SeeCells | None = None
) -> Segment:
    """Nuclei field after field, each at its own scale; cells of the whole batch in one program."""

    @jax.jit
    @jax.vmap
    def grow(image: Image, seen: Seen, cells: Seen | None) -> Compartments:
        return _around(compartments, image, examine(seen), config, cells)

    def one(image: Image) -> tuple[Seen, Seen | None]:
        seen = see(image[..., config.nuclei_channel])
        return seen, see_cells and see_cells(image, seen.labels)

    def batch(images: Images) -> Compartments:
        images = jnp.asarray(images)
        together = jax.tree.map(lambda *parts: jnp.stack(parts), *map(one, images))
        return grow(images, *together)

    return batch


def _around(
    grow: Callable[..., Compartments],
    image: Image,
    found: Examined,
    config: SegmentConfig,
    seen: Seen | None,
) -> Compartments:
    """Grow cells; a field whose candidates found no room has too many, and says so."""
    cells = grow(
        image[..., config.cells_channel],
        found.nuclei.labels,
        config.cells,
        max_cells=config.max_cells,
        confidence=found.confidence,
        seen=seen,
    )
    dropped = found.nuclei.dropped + (seen.nuclei.dropped if seen else 0)
    more = jnp.maximum(cells.count, config.max_cells) + dropped
    return cells._replace(count=jnp.where(dropped > 0, more, cells.count))
