"""Where the next batch is cut: on the host, from fields of any size, by step and seed alone."""

from collections.abc import Sequence

import numpy as np

from profiler.segment.training.example import Field, Windows

ON_AN_OBJECT = 0.8  # share of windows centred near one; the rest lie anywhere


def cut(
    fields: Sequence[Field], shares: np.ndarray, *, step: int, seed: int, batch: int, side: int
) -> Windows:
    """Cut the windows of one step.

    Args:
        fields: What to cut from.
        shares: How often each field is drawn, adding up to 1.
        step: Which step; a resumed run cuts what the interrupted one would have.
        seed: Of the run.
        batch: Windows to cut.
        side: Their side, pixels.
    """
    rng = np.random.default_rng([seed, step])
    chosen = [fields[index] for index in rng.choice(len(fields), batch, p=shares)]
    pieces = [_cut(field, rng, side) for field in chosen]
    image, labels, weight = map(np.stack, zip(*pieces, strict=True))
    scale = np.array([field.scale for field in chosen], np.float32)
    return Windows(image.reshape(*labels.shape, -1), labels, weight, scale)


def _cut(field: Field, rng: np.random.Generator, side: int) -> tuple[np.ndarray, ...]:
    """Cut a square window; beyond the field's border it is mirrored."""
    middle = _middle(field, rng, side)
    rows, columns = (
        _mirrored(np.arange(side) + int(m) - side // 2, length)
        for m, length in zip(middle, field.labels.shape, strict=True)
    )
    return tuple(
        part[rows[:, None], columns[None, :]]
        for part in (field.image, field.labels.astype(np.int32), field.weight)
    )


def _middle(field: Field, rng: np.random.Generator, side: int) -> np.ndarray:
    shape = np.array(field.labels.shape)
    crop = side / 2 / field.scale  # about what a crop shows of its window
    if len(field.centres) and rng.random() < ON_AN_OBJECT:
        middle = field.centres[rng.integers(len(field.centres))] + rng.uniform(-1, 1, 2) * crop / 3
    else:
        middle = rng.uniform(0, 1, 2) * shape
    margin = np.minimum(crop / 2, shape / 2)
    return np.clip(middle, margin, shape - margin)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Fold indices beyond a border back inside, repeating the border pixel.

    >>> _mirrored(np.arange(-2, 5), 3)
    array([1, 0, 0, 1, 2, 2, 1])
    """
    index = np.mod(index, 2 * length)
    return np.minimum(index, 2 * length - 1 - index)
