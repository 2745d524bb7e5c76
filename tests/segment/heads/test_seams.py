"""Tiles and scales: no nucleus is lost or doubled, whichever head finds it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from profiler.segment.evaluation.field import count
from profiler.segment.heads import HEADS
from profiler.segment.network.build import reach
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import overlaps
from profiler.segment.sizes import see_at
from profiler.segment.tiles import predict

SEAM = 64  # pixels between seams
FIELD = (176, 192)


def place_names(shape) -> jnp.ndarray:
    """A plane whose every pixel says where it is, so that a tile knows its place."""
    return jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)


def knowing(said, *, margin: int):
    """A network that is always right: it reads where a tile lies and says what is there."""

    def around(maps):
        edge = margin * 16 // (16 * (FIELD[0] // maps.shape[0]))
        return jnp.pad(maps, [(edge, edge + SEAM * 4)] * 2 + [(0, 0)] * (maps.ndim - 2))

    wide = jax.tree.map(around, said)

    def network(tiles):
        _, height, width, _ = tiles.shape
        name = tiles[0, height // 2, width // 2, 0].astype(jnp.int32)
        corner = (name // FIELD[1] - height // 2 + margin, name % FIELD[1] - width // 2 + margin)

        def cut(maps, like):
            stride = FIELD[0] // like.shape[0]
            start = (corner[0] // stride, corner[1] // stride, *(0,) * (maps.ndim - 2))
            sides = (height // stride, width // stride, *maps.shape[2:])
            return lax.dynamic_slice(maps, start, sides)[None]

        return jax.tree.map(cut, wide, said)

    return network


@pytest.mark.parametrize("name", sorted(HEADS))
def test_nuclei_on_seams_are_neither_lost_nor_doubled(name, nuclei, right):
    config = NetworkConfig(widths=(4,) * 5, head=name)
    apart = 37 if name == "semantic" else 25  # do not touch, or do
    labels = nuclei(4, size=192, apart=apart)[: FIELD[0]]
    on_seams = set(np.unique(labels[[63, 64, 127, 128]])) | set(np.unique(labels[:, [64, 128]]))
    assert len(on_seams) > 8
    said = right(name, labels)
    margin = -(-reach(config) // 16) * 16

    @jax.jit  # what is said is no constant: those would be folded while it compiles
    def tile(said, plane):
        return predict(knowing(said, margin=margin), plane, config, whole=SEAM)

    tiled = tile(said, place_names(FIELD))
    for one, other in zip(jax.tree.leaves(said), jax.tree.leaves(tiled), strict=True):
        np.testing.assert_array_equal(one, other)
    head = HEADS[name]
    settings = replace(head.settings, min_area_px=1)
    found = np.asarray(jax.jit(lambda said: head.decode(said, settings).labels)(tiled))
    counts = count(labels, found)
    assert overlaps(labels, found).max(1).min() > 0.8
    assert (counts.split, counts.merged, counts.missed, counts.spurious) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"semantic"}))
@pytest.mark.parametrize("scale", [0.5**0.5, 2.0])
def test_nuclei_of_another_size_come_back_in_the_fields_own_pixels(name, scale, nuclei, right):
    labels = nuclei(5, size=110)
    wanted = (round(110 * scale),) * 2
    said = right(name, np.asarray(jax.image.resize(labels, wanted, "nearest")))

    @jax.jit
    def decode(said, field):
        def ideal(plane):
            assert plane.shape == wanted
            return said

        return see_at(ideal, field, HEADS[name], scale=scale).nuclei

    found = decode(said, jnp.zeros((110, 110)))
    assert found.count == len(np.unique(labels)) - 1
    assert overlaps(labels, np.asarray(found.labels)).max(1).min() > 0.75
