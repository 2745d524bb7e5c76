"""Networks on disk: safetensors for the numbers, a JSON card for what they are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flax import nnx
from jax import Array

from plates.errors import BadModel, UnknownName, lookup
from profiler.nets.cards import Tensors, copy_weights
from profiler.nets.files import fill, flat, read_weights, write_card, write_weights
from profiler.segment.catalogue import MODELS
from profiler.segment.confidence.calibration import Calibration
from profiler.segment.joining.join import Joining
from profiler.segment.network.build import Network, build, check
from profiler.segment.network.config import NetworkConfig, check_fields
from profiler.segment.network.norms import GROUP

CARD = "a model card"
WIDEST_PX = 10_000  # of an object: more is a slip, as below a pixel


@dataclass(frozen=True)
class Card:
    """What a network is, was trained on, and scores.

    Attributes:
        name: As recipes call it.
        architecture: Fields of `NetworkConfig`; what an old card lacks has its default.
        sha256: Of the weights file, which must match.
        about: Data, licences, split, schedule and scores, for people.
        diameter_px: What its training images' median objects were brought to; None if they
            kept their sizes.
        nucleus_px: How wide nuclei are then, of a network of whole cells; None of others.
        calibration: How likely its nuclei are right, fields of `Calibration`; None if unknown.
        joining: What puts pieces of one nucleus together, fields of `Joining`; None if nothing.
    """

    name: str
    architecture: Mapping[str, Any]
    sha256: str
    about: Mapping[str, Any]
    diameter_px: float | None = None
    calibration: Mapping[str, Any] | None = None
    nucleus_px: float | None = None
    joining: Mapping[str, Any] | None = None


def save_network(
    path: Path,
    model: Network,
    config: NetworkConfig,
    *,
    about: Mapping,
    diameter_px: float | None = None,
    nucleus_px: float | None = None,
    joining: Joining | None = None,
) -> Card:
    """Write weights (`path`, .safetensors) and their card (`path` with .json)."""
    card = Card(
        path.stem,
        asdict(config),
        write_weights(path, model),
        about,
        diameter_px=diameter_px,
        nucleus_px=nucleus_px,
        joining=joining and asdict(joining),
    )
    write_card(path, card)
    return card


def save_calibration(path: Path, calibration: Calibration | None, *, note: str) -> Card:
    """Put a calibration, or that there is none, on the card of a network that is on disk.

    Args:
        path: The weights; they stay as they are.
        calibration: Its fields go to the card.
        note: What it was fitted on, or why there is none.

    Raises:
        BadModel: The network's files cannot be used.
    """
    card, _ = _read(path)
    about = {**card.about, "calibration": note}
    card = replace(card, about=about, calibration=calibration and asdict(calibration))
    write_card(path, card)
    return card


def save_joining(path: Path, joining: Joining | None, *, note: str) -> Card:
    """Put a joining on the card of a network that is on disk; its calibration goes.

    The calibration is of nuclei as they were found before: fit it again.

    Args:
        path: The weights; they stay as they are.
        joining: Its fields go to the card.
        note: What it was fitted on.

    Raises:
        BadModel: The network's files cannot be used.
    """
    card, _ = _read(path)
    about = {name: said for name, said in card.about.items() if name != "calibration"}
    about["joining"] = note
    fields = joining and asdict(joining)
    card = replace(card, about=about, joining=fields, calibration=None)
    write_card(path, card)
    return card


def copy_network(path: Path, other: Path) -> Card:
    """Put a copy of a network, called by its new name, in the place of another file.

    Raises:
        BadModel: The network's files cannot be used.
    """
    card, _ = _read(path)
    card = replace(card, name=other.stem)
    copy_weights(path, other)
    write_card(other, card)
    return card


def load_network(name: str | Path) -> tuple[Network, NetworkConfig, Card]:
    """Read a network, ready for inference.

    Args:
        name: A shipped model, or the path of a .safetensors file with its card beside it.

    Raises:
        UnknownName: No shipped model is called that.
        BadModel: The file or its card is missing, cut short, edited, or of another architecture.
    """
    path = Path(name) if str(name).endswith(".safetensors") else None
    path = path or lookup(MODELS, kind="segmentation model", name=str(name))
    card, tensors = _read(path)
    config = _architecture(card, path)
    # Abstract first: drawing random weights only to replace them would cost a second.
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    fill(model, tensors, path=path, what="architecture")
    model.eval()
    return model, config, card


def with_new_head(model: Network, config: NetworkConfig, *, rngs: nnx.Rngs) -> Network:
    """Give a network the head that `config` names, untrained; the rest keeps its weights."""
    fresh = build(config, rngs=rngs)
    kept = [(key, leaf) for key, leaf in flat(model) if key[0] != "head"]
    nnx.update(fresh, nnx.from_flat_state(kept))
    return fresh


def widened(
    model: Network, config: NetworkConfig, widths: tuple[int, ...], *, rngs: nnx.Rngs
) -> tuple[Network, NetworkConfig]:
    """Give a network more features at some levels, which nobody listens to yet.

    What it knew and what it predicts stay; training draws the new ones in (Chen et al. 2016,
    arXiv:1511.05641).

    Raises:
        BadModel: There are other levels, or fewer features at one; or old and new features would
            mix: in dense blocks, in groups that are not whole, or in a shortcut that was none.
    """
    are_levels = len(widths) == len(config.widths)
    if not are_levels or any(new < old for new, old in zip(widths, config.widths, strict=True)):
        raise BadModel(
            f"Widths {widths} do not hold those of the network to go on from, {config.widths}; "
            "expected as many levels, each at least as wide."
        )
    wide = replace(config, widths=widths)
    fresh = build(wide, rngs=rngs)
    old, new = dict(flat(model)), dict(flat(fresh))
    is_cut = config.norm == "group" and any(width % GROUP for width in (*config.widths, *widths))
    if config.block == "dense" or is_cut or new.keys() != old.keys():
        raise BadModel(
            f"A network of {config.block} blocks and {config.norm} norms cannot be widened from "
            f"{config.widths} to {widths}: it would forget what it knows. Take plain blocks, batch "
            "norms and levels whose widths differ, or begin from nothing."
        )
    grown = [(key, leaf.replace(_grown(leaf[...], old[key][...]))) for key, leaf in new.items()]
    nnx.update(fresh, nnx.from_flat_state(grown))
    return fresh, wide


def _grown(new: Array, old: Array) -> Array:
    """Put old numbers first; what old features would hear of new ones is 0."""
    if old.ndim > 1:  # a kernel, [..., from, to]
        new = new.at[..., old.shape[-2] :, : old.shape[-1]].set(0)
    return new.at[tuple(map(slice, old.shape))].set(old)


def network_config(architecture: Mapping[str, Any]) -> NetworkConfig:
    """Read the architecture of a card; what an old one lacks has its default.

    Raises:
        KeyError, TypeError, ValueError, UnknownName: It is of no network of this program.
    """
    check_fields(architecture)
    config = NetworkConfig(**{**architecture, "widths": tuple(architecture["widths"])})
    check(config)
    return config


def _architecture(card: Card, path: Path) -> NetworkConfig:
    try:
        return network_config(card.architecture)
    except (KeyError, TypeError, ValueError, UnknownName) as error:
        raise BadModel(
            f"The card of {path} describes another architecture: {dict(card.architecture)}; "
            f"expected fields of NetworkConfig ({error})."
        ) from None


def _read(path: Path) -> tuple[Card, Tensors]:
    return read_weights(path, _card, what=CARD)


def _card(**fields: Any) -> Card:
    for name, (is_good, expected) in FIELDS.items():
        if name in fields and not is_good(fields[name]):
            raise ValueError(f"its {name} is {fields[name]!r}; expected {expected}")
    return Card(**fields)


def _is_word(found: Any) -> bool:
    return isinstance(found, str)


def _is_width(found: Any) -> bool:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found is None or (is_number and 1 <= found <= WIDEST_PX)


def _is_mapping(found: Any) -> bool:
    return isinstance(found, Mapping)


WIDTH = (_is_width, f"a number of pixels from 1 to {WIDEST_PX}, or null")
FIELDS = {
    "name": (_is_word, "a word"),
    "sha256": (_is_word, "the 64 letters and digits of its weights' own"),
    "architecture": (_is_mapping, "the fields of NetworkConfig"),
    "about": (_is_mapping, "the data, split and scores by name"),
    "diameter_px": WIDTH,
    "nucleus_px": WIDTH,
    "calibration": (
        lambda found: found is None or _is_mapping(found),
        "the fields of Calibration, or null",
    ),
    "joining": (
        lambda found: found is None or _is_mapping(found),
        "the fields of Joining, or null",
    ),
}
