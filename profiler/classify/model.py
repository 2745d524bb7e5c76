"""A classifier on disk: two files, each of which knows the other's hash. Never pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plates.errors import BadModel
from profiler.classify.learn import Apart, Learnt, Odd, can_be_new
from profiler.classify.learned import Learned, read, written
from profiler.classify.linear import Linear
from profiler.classify.trust.calibration import Temperature
from profiler.classify.trust.outliers import Known
from profiler.classify.trust.whole import Places, Whole
from profiler.nets.cards import Tensors, read_weights, write_tensors
from profiler.store.atomic import replacing

KIND = "cell classifier 1"  # and the version of its tensors
WHAT = "the card of a cell classifier"
FIELD_OF = {  # of the cards of other networks, none of which says its kind
    "a segmenter": "architecture",
    "an encoder of cells": "model",
    "an aggregator of wells": "phi",
}


@dataclass(frozen=True)
class Card:
    """What a classifier is, for a person and for whoever uses it.

    Attributes:
        kind: `KIND`.
        classes: Names, in the order of the columns.
        features: Columns of cells, in the order of the rows.
        embedder: SHA-256 of the network whose vectors are among them; null where none is.
        examples: How many labelled cells each class had.
        plates: Those that the cells are of.
        labels: SHA-256 of the label table.
        strength: scikit-learn's C, as chosen.
        balance: 0 for classes as frequent as their labels, 1 for equally frequent ones.
        temperature: What logits are divided by.
        seed: What decided the parts.
        scores: Of cells held out, by name.
        packages: Versions of the packages that numbers depend on.
        stains: Those of the vectors, in the order of their blocks; null where none are, and where
            the runs do not tell, or a card is from before this was noted.
        suspects: SHA-256 of the list of suspects as it was written beside it; null in a card from
            before this was noted.
        sha256: Of the other file, which holds the hash of this one without it.
    """

    kind: str
    classes: list[str]
    features: list[str]
    embedder: str | None
    examples: dict[str, int]
    plates: list[str]
    labels: str
    strength: float
    balance: float
    temperature: float
    seed: int
    scores: dict[str, Any]
    packages: dict[str, str]
    stains: list[str] | None = None
    suspects: str | None = None
    sha256: str = ""


class Model(NamedTuple):
    """A classifier and what is known of it.

    Attributes:
        card: What it is.
        learnt: The numbers.
        wells: Well of each cell of `learnt.odd.reference`, as a number.
        learned: The cells it learned from; None in files from before this was noted.
    """

    card: Card
    learnt: Learnt
    wells: np.ndarray
    learned: Learned | None = None


def write_model(path: Path, model: Model) -> Model:
    """Write a classifier, and give it back with its hash.

    Raises:
        BadModel: As `check_place`.
        BadRun: The disk is full or the file cannot be written.
    """
    check_place(path)
    card = replace(model.card, sha256="")
    tensors = _tensors(model) | {"card": _digest(card)}
    with replacing(path) as draft:
        card = replace(card, sha256=write_tensors(draft, tensors))
    with replacing(path.with_suffix(".json")) as draft:
        draft.write_text(json.dumps(asdict(card), indent=2) + "\n")
    return model._replace(card=card)


def read_model(path: Path) -> Model:
    """Read a classifier.

    Raises:
        BadModel: A file is missing, cut short, edited, or of something else than a classifier.
    """
    card, tensors = read_weights(path, _card, what=WHAT)
    if not np.array_equal(tensors.get("card", ()), _digest(replace(card, sha256=""))):
        raise BadModel(
            f"{path.with_suffix('.json')} was edited: it is not the card that {path.name} was "
            "written with. Copy both files again from where they came, or train anew."
        )
    return _model(card, tensors)


def check_place(path: Path) -> None:
    """Refuse a name that the two files cannot share, or that something else has.

    Raises:
        BadModel: It does not end in .safetensors, or the card there is not a classifier's.
    """
    if path.suffix != ".safetensors":
        raise BadModel(
            f"The classifier {path} ends in {path.suffix!r}; expected NAME.safetensors. Its card "
            "NAME.json lies beside it."
        )
    if (there := _other(path.with_suffix(".json"))) is not None:
        raise BadModel(
            f"{path.with_suffix('.json')} is {there}, and a classifier {path.name} would replace "
            "it. Choose another name, or move both files away; nothing was changed."
        )


def _other(card: Path) -> str | None:
    """What a file in a card's place is; None where there is none, or a classifier's."""
    try:
        fields = json.loads(card.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # a folder, or no text
        return "no card that can be read"
    if not isinstance(fields, dict):
        return "no card of a classifier"
    if str(fields.get("kind")).startswith(KIND.rstrip("0123456789")):  # of any version
        return None
    known = (f"the card of {name}" for name, field in FIELD_OF.items() if field in fields)
    return next(known, "no card of a classifier")


def _card(**fields: Any) -> Card:
    if fields.get("kind") != KIND:
        raise ValueError(f"its kind is {fields.get('kind')!r}, expected {KIND!r}")
    return Card(**fields)


def _digest(card: Card) -> np.ndarray:
    said = asdict(card)
    for name in ("stains", "suspects"):
        if said[name] is None:  # as cards say it that were written before there was such a field
            del said[name]
    text = json.dumps(said, sort_keys=True)
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)


def _tensors(model: Model) -> dict[str, np.ndarray]:
    learnt = model.learnt
    named = {
        "weights": learnt.linear.weights,
        "bias": learnt.linear.bias,
        "apart/logits": learnt.apart.logits,
        "apart/labels": learnt.apart.labels,
        "wells": model.wells,
    }
    if learnt.odd:
        known, whole = learnt.odd.places
        named |= {f"known/{name}": value for name, value in known._asdict().items()}
        named |= {f"whole/{name}": value for name, value in whole._asdict().items()}
        named |= {f"reference/{name}": value for name, value in learnt.odd.reference.items()}
    if model.learned:
        named |= {f"learned/{name}": value for name, value in written(model.learned).items()}
    return {name: np.ascontiguousarray(value) for name, value in named.items()}


def _model(card: Card, tensors: Tensors) -> Model:
    linear = Linear(tensors["weights"], tensors["bias"])
    apart = Apart(
        np.arange(len(tensors["apart/labels"])),
        tensors["apart/logits"],
        tensors["apart/labels"],
        str(card.scores.get("held_out", "")),
    )
    temperature = Temperature(card.temperature, is_decided=True)
    known, whole = _below("known/", tensors), _below("whole/", tensors)
    reference = dict(_below("reference/", tensors))
    rows = np.arange(len(tensors["wells"]))
    is_known = bool(known) and can_be_new(reference)  # files from before this was asked may not
    odd = Odd(Places(Known(**known), Whole(**whole)), reference, rows) if is_known else None
    learnt = Learnt(linear, card.strength, temperature, apart, odd)
    return Model(card, learnt, tensors["wells"], read(_below("learned/", tensors)))


def _below(prefix: str, tensors: Tensors) -> Mapping[str, np.ndarray]:
    return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
