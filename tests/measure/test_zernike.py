"""Circles and Zernike moments against centrosome, cp_measure, mahotas, the hand, and mirrors."""

import jax
import mahotas
import numpy as np
import pytest
from centrosome.cpmorphology import minimum_enclosing_circle
from cp_measure.bulk import get_core_measurements

from profiler.measure import COMPARTMENTS, CellLabels, cpu, device
from profiler.measure.shape.circle import rim_cpu
from profiler.measure.shape.disc import circles_jax, disc_jax
from profiler.measure.shape.zernike import INDEXES

STAIN = "DNA"
PRESENT = {"Nuclei": (1, 2, 3, 4, 5, 9, 11), "Cells": (1, 2, 3, 4, 5, 8, 9, 10, 11),
           "Cytoplasm": (1, 2, 3, 4, 5, 8, 9, 10)}  # fmt: skip


def shapes_of(table, compartment):
    """Moments of masks, [(n, m), cell]."""
    return np.stack([table[f"{compartment}_AreaShape_Zernike_{n}_{m}"] for n, m in INDEXES])


def waves_of(table, compartment, stain=STAIN):
    """Moments of intensities as complex numbers, [(n, m), cell]."""

    def part(name):
        column = f"{compartment}_RadialDistribution_Zernike{name}_{stain}"
        return np.stack([table[f"{column}_{n}_{m}"] for n, m in INDEXES]).astype(float)

    # CellProfiler's phase is that of the imaginary part first.
    return part("Magnitude") * (np.sin(part("Phase")) + 1j * np.cos(part("Phase")))


def outside_of(labels):
    """How many pixels of each object rounding puts outside, by centrosome's circles."""
    present = np.unique(labels)[1:]
    count = np.zeros(13, int)
    centres, radii = minimum_enclosing_circle(labels, present)
    for label, centre, radius in zip(present, centres, radii, strict=True):
        places = np.argwhere(labels == label)
        if radius > 0:
            count[label] = ((((places - centre) / radius) ** 2).sum(axis=1) > 1).sum()
    return count[1:]


def test_names():
    assert len(INDEXES) == 30
    assert INDEXES[:4] == ((0, 0), (1, 1), (2, 0), (2, 2))
    assert INDEXES[-1] == (9, 9)


def objects_of_many_shapes(size=24, across=16):
    """Ellipses, rectangles and scattered dots; not discs, of whose ties centrosome picks one."""
    rng = np.random.default_rng(3)
    labels = np.zeros((size * across, size * across), np.int32)
    y, x = np.mgrid[:size, :size] - size // 2 + rng.normal(size=(2, 1, 1))
    for cell in range(across**2):
        tilt, *axes = rng.uniform((0, 2, 2), (3, 10, 10))
        along, over = y * np.cos(tilt) + x * np.sin(tilt), x * np.cos(tilt) - y * np.sin(tilt)
        shape = (along / axes[0]) ** 2 + (over / axes[1]) ** 2 <= 1
        if cell % 3 == 1:
            shape = (abs(y) < axes[0]) & (abs(x) < axes[1])
        elif cell % 3 == 2:
            shape = rng.random((size, size)) < 0.02
        top, left = size * (cell // across), size * (cell % across)
        labels[top : top + size, left : left + size][shape] = cell + 1
    return labels


def test_circles_equal_centrosomes_to_the_last_bit():
    labels = objects_of_many_shapes()
    present = np.unique(labels)[1:]
    objects = cpu.pack(labels, max_cells=256)
    (centre, radius), outside = rim_cpu(objects)
    centres, radii = minimum_enclosing_circle(labels, present)
    np.testing.assert_array_equal(centre.T[present - 1], centres)
    np.testing.assert_array_equal(radius[present - 1], radii)
    place = np.argwhere(labels > 0)
    owner = labels[labels > 0] - 1
    with np.errstate(invalid="ignore"):
        away = (((place - centre[:, owner].T) / radius[owner, None]) ** 2).sum(axis=1)
    assert set(objects.order[outside]) == set(np.flatnonzero(labels)[away > 1])


def test_a_circle_through_four_pixels_is_centrosomes():
    """Its radius is measured to one of the four, which differ in the last bits."""
    labels, outline = np.zeros((30, 30), np.int32), ((21, 19), (4, 1), (20, 20), (2, 3))
    inner = ((6, 0), (0, 7), (0, 9), (3, 15), (7, 19), (9, 20), (12, 21), (18, 21), (21, 15))
    for y, x in (*outline, *inner):
        labels[y, x] = 1
    (centre, radius), _ = rim_cpu(cpu.pack(labels, max_cells=1))
    away = np.hypot(*(np.array(outline).T - centre))
    np.testing.assert_allclose(away, radius[0], rtol=1e-12)
    assert len(set(away)) > 1
    centres, radii = minimum_enclosing_circle(labels, [1])
    assert centre[:, 0].tolist() == centres[0].tolist()
    assert radius[0] == radii[0]


@jax.jit
def on_device(labels):
    objects = device.pack(labels, max_cells=12)
    disc = disc_jax(objects)
    return circles_jax(objects), disc.parts.pixel, disc.is_inside


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_an_accelerator_rounds_as_the_cpu_does(field, compartment):
    labels = getattr(field.labels, compartment.lower())
    (centre, radius), pixel, is_inside = map_arrays(on_device(labels))
    objects = cpu.pack(labels, max_cells=12)
    circles, outside = rim_cpu(objects)
    there = np.array(PRESENT[compartment]) - 1  # without single pixels
    np.testing.assert_array_equal(centre[:, there], circles.centre[:, there])
    np.testing.assert_array_equal(radius[there], circles.radius[there])
    left_out = pixel[~is_inside & (pixel < labels.size)]
    left_out = left_out[np.isin(labels.ravel()[left_out], PRESENT[compartment])]
    assert set(left_out) == set(objects.order[outside])
    assert sorted(pixel[pixel < labels.size]) == np.flatnonzero(labels).tolist()


def map_arrays(tree):
    (centre, radius), *rest = tree
    return (np.asarray(centre), np.asarray(radius)), *map(np.asarray, rest)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_equals_cp_measure(measured, field, compartment):
    labels = getattr(field.labels, compartment.lower())
    present = np.unique(labels)[1:] - 1
    core = get_core_measurements(legacy=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # of single pixels
        shape = core["zernike"](labels, None)
        light = core["radial_zernikes"](labels, field.image[..., 1].astype(float))
    found = shapes_of(measured, compartment)[:, present]
    expected = np.stack([shape[f"Zernike_{n}_{m}"] for n, m in INDEXES])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)

    def theirs(part):
        names = (f"RadialDistribution_Zernike{part}_{n}_{m}" for n, m in INDEXES)
        return np.stack([light[name] for name in names])

    expected = theirs("Magnitude") * (np.sin(theirs("Phase")) + 1j * np.cos(theirs("Phase")))
    found = waves_of(measured, compartment)[:, present]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_equals_mahotas(measured, field):
    """Its moments are of weights that sum to 1, times (n + 1) / pi."""
    objects = cpu.pack(field.labels.cells, max_cells=12)
    (centre, radius), _ = rim_cpu(objects)
    whole = [cell for cell in (0, 1, 2, 3, 4) if outside_of(field.labels.cells)[cell] == 0]
    assert len(whole) > 1
    for cell in whole:
        mask = (field.labels.cells == cell + 1).astype(float)
        reach = radius[cell] * (1 + 1e-9)  # it rounds otherwise
        theirs = mahotas.features.zernike_moments(mask, reach, degree=9, cm=centre[:, cell])
        scale = [(n + 1) * radius[cell] ** 2 / mask.sum() for n, _ in INDEXES]
        found = shapes_of(measured, "Cells")[:, cell] * scale
        np.testing.assert_allclose(found, theirs, rtol=1e-3, atol=1e-6)


def of_mask(run, field, mask):
    labels = mask.astype(np.int32)
    return run(field.image, CellLabels(labels, labels, labels))


def test_a_disc_is_flat(run, field):
    y, x = np.mgrid[:64, :80]
    shape = shapes_of(of_mask(run, field, (y - 32) ** 2 + (x - 40) ** 2 < 900), "Cells")[:, 0]
    assert shape[0] == pytest.approx(1, abs=0.04)
    assert (shape[1:] < 0.03).all()
    odd = [m % 4 != 0 for _, m in INDEXES]
    np.testing.assert_allclose(shape[odd], 0, atol=1e-6)


def test_two_pixels_by_hand(run, field):
    mask = np.zeros((64, 80), bool)
    mask[20, 30:32] = True
    shape = shapes_of(of_mask(run, field, mask), "Cells")[:, 0]
    both = 2 / (np.pi * 0.5**2)  # each wave is 1 on the circle, with a sign
    np.testing.assert_allclose(shape, [both if n % 2 == 0 else 0 for n, _ in INDEXES], atol=1e-5)


def test_a_square_by_hand(measured):
    """Only waves with its symmetry; its corners, on the circle, all count or none does."""
    shape = shapes_of(measured, "Cells")[:, 9]
    disc = np.pi * 1.5**2 * 2
    assert shape[0] == pytest.approx(16 / disc, rel=1e-5) or shape[0] == pytest.approx(12 / disc)
    np.testing.assert_allclose(shape[[m % 4 != 0 for _, m in INDEXES]], 0, atol=1e-6)


def test_single_pixels_and_absent_cells_have_none(measured):
    for compartment in COMPARTMENTS:
        is_nan = np.isnan(shapes_of(measured, compartment))
        assert (is_nan == np.isnan(waves_of(measured, compartment))).all()
        expected = [cell not in PRESENT[compartment] for cell in range(1, 13)]
        assert (is_nan == expected).all()


def test_a_constant_channel_is_the_mask(run, field):
    found = run(np.full_like(field.image, 0.25), field.labels)
    objects = cpu.pack(field.labels.cells, max_cells=12)
    with np.errstate(divide="ignore"):
        disc = np.pi * rim_cpu(objects).circles.radius ** 2 / objects.area
    expected = 0.25 * disc * shapes_of(found, "Cells")
    np.testing.assert_allclose(abs(waves_of(found, "Cells")), expected, rtol=1e-4, atol=1e-6)


def test_a_dark_channel_is_0(run, field):
    found = run(np.zeros_like(field.image), field.labels)
    there = np.array(PRESENT["Cells"]) - 1
    for part in ("Magnitude", "Phase"):
        for n, m in INDEXES:
            column = f"Cells_RadialDistribution_Zernike{part}_DNA_{n}_{m}"
            assert (found[column][there] == 0).all(), column


def test_phase_is_a_right_angle_without_periods(measured):
    there = np.array(PRESENT["Cells"]) - 1
    for n, m in INDEXES:
        if m == 0:
            phase = measured[f"Cells_RadialDistribution_ZernikePhase_DNA_{n}_{m}"][there]
            np.testing.assert_allclose(abs(phase), np.pi / 2, rtol=1e-6)


MIRRORS = {
    "down": (lambda image: np.flip(image, 0), lambda wave, m: (-1) ** m * wave.conj()),
    "along": (lambda image: np.flip(image, 1), lambda wave, m: wave.conj()),
    "both": (lambda image: np.flip(image, (0, 1)), lambda wave, m: (-1) ** m * wave),
}


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_mirrors(run, field, measured, compartment, mirror):
    """Where as many pixels of the circle count, magnitudes stay and phases turn."""
    flip, turn = MIRRORS[mirror]
    mirrored = CellLabels(*(flip(part).copy() for part in field.labels))
    found = run(flip(field.image).copy(), mirrored)
    labels, others = (getattr(part, compartment.lower()) for part in (field.labels, mirrored))
    alike = np.flatnonzero(outside_of(labels) == outside_of(others))
    assert len(alike) > 8
    np.testing.assert_allclose(
        shapes_of(found, compartment)[:, alike],
        shapes_of(measured, compartment)[:, alike],
        rtol=1e-3,
        atol=1e-6,
    )
    expected = np.stack(
        [
            turn(wave, m)
            for wave, (_, m) in zip(waves_of(measured, compartment), INDEXES, strict=True)
        ]
    )
    np.testing.assert_allclose(
        waves_of(found, compartment)[:, alike], expected[:, alike], rtol=1e-3, atol=1e-6
    )


def test_brightness_scales_magnitudes_alone(run, field, measured):
    found = waves_of(run(field.image / 4, field.labels), "Nuclei")
    np.testing.assert_allclose(4 * found, waves_of(measured, "Nuclei"), rtol=1e-3, atol=1e-6)


def test_holes_and_borders_count_as_they_are(run, field):
    """A moment is a sum over pixels: an object without a part lacks that part's."""
    ring, hole = np.zeros((2, 64, 80), bool)
    ring[:21, 10:31] = True
    hole[8:12, 16:20] = True
    whole, holed = (
        waves_of(of_mask(run, field, mask), "Cells")[:, 0] for mask in (ring, ring & ~hole)
    )
    area, radius = 21 * 21, 10 * np.sqrt(2)
    y, x = np.argwhere(hole).T
    light = field.image[y, x, 1]
    first = ((y - 10) + 1j * (x - 20)) / radius
    lacking = np.array([light.sum(), (light * first).sum()])
    expected = (whole[:2] * area - lacking) / (area - 16)
    np.testing.assert_allclose(holed[:2], expected, rtol=1e-4)
