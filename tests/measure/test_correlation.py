"""Pairs of channels against CellProfiler, cp_measure, numpy and the hand, by both kernels."""

from functools import partial

import jax
import numpy as np
import polars as pl
import pytest
import tifffile
from cp_measure.core import measurecolocalization as reference

from plates.errors import BadRecipe
from profiler.measure import COMPARTMENTS, CellLabels, measure, plan_measurement
from profiler.measure.correlation.bisection import thresholds_jax
from profiler.measure.correlation.levels import levels
from profiler.measure.correlation.pearson import correlation
from profiler.measure.correlation.thresholds import thresholds_cpu

SHAPE = (24, 32)
MAX_CELLS = 4
PAIRED = ("K", "Manders", "RWC", "Costes")
PIPELINE = ("DNA", "RNA", "AGP", "Mito", "ER")  # the order of CellProfiler's pairs


@pytest.fixture(params=["cpu", "jax"])
def backend(request):
    return request.param


@pytest.fixture
def run(backend):
    """Measure one label image as nuclei; {"K_A_B": [cell], ...}."""

    def measured(image, labels, **options):
        plan = plan_measurement(
            families=("Correlation",),
            stains=("A", "B"),
            max_cells=MAX_CELLS,
            backend=backend,
            options={"Correlation": options} if options else {},
        )
        nothing = np.zeros_like(labels)
        table = measure(image, CellLabels(labels, nothing, nothing), plan=plan)
        prefix = "Nuclei_Correlation_"
        return {
            name.removeprefix(prefix): table.features[:, at]
            for at, name in enumerate(plan.columns)
            if name.startswith(prefix)
        }

    return measured


@pytest.fixture(scope="module")
def cells():
    """A tilted, a touching, a one-pixel cell; none has label 3."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros(SHAPE, np.int32)
    labels[(rows - 8) ** 2 + (columns - 8) ** 2 - (rows - 8) * (columns - 8) < 40] = 1
    labels[4:20, 16:27] = 2
    labels[22, 3] = 4
    return labels


def correlated(seed=0, *, is_falling=False):
    """Grey levels of two channels: they share one part, each has noise over a background.

    Falling: one lacks what the other has, and some of the field is black, which is no part of
    the line through the pixels, but keeps them correlated.
    """
    random = np.random.default_rng(seed)
    shared = random.gamma(0.4, 60, SHAPE)
    shared[shared < 20] = 0
    a, b = (random.normal(level, 12, SHAPE) for level in (90, 50))
    a, b = a + shared, b + 1.7 * shared
    if is_falling:
        b = 400 - 0.2 * b
        a[::12], b[::12] = 0, 0
    return np.clip(np.stack([a, b], axis=-1), 0, 511).astype(np.uint16)


def scaled(grey, steps=65535):
    return (grey / steps).astype(np.float32)


def assert_close(found, expected, rtol=1e-4):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-6)


def test_by_hand(run):
    """One object: A is bright from 1.5, B from 3, so that the first four pixels are in both."""
    labels, image = np.zeros(SHAPE, np.int32), np.zeros((*SHAPE, 2), np.float32)
    labels[5, 2:8] = 2
    image[5, 2:8, 0] = np.array([2, 4, 6, 10, 8, 1]) / 64
    image[5, 2:8, 1] = np.array([20, 3, 8, 8, 1, 20]) / 64
    found = run(image, labels, costes=False)
    ab, aa, bb = 40 + 12 + 48 + 80, 4 + 16 + 36 + 100, 400 + 9 + 64 + 64
    # Ranks of A 1 2 3 5 4 0, of B 3 1 2 2 0 3: distances 2 1 1 3 of 6.
    weight = 1 - np.array([2, 1, 1, 3]) / 6
    expected = {
        "Overlap_A_B": ab / np.sqrt(aa * bb),
        "K_A_B": ab / aa,
        "K_B_A": ab / bb,
        "Manders_A_B": 22 / 30,
        "Manders_B_A": 39 / 59,
        "RWC_A_B": weight @ [2, 4, 6, 10] / 30,
        "RWC_B_A": weight @ [20, 3, 8, 8] / 59,
        "Correlation_A_B": np.corrcoef(image[5, 2:8].T)[0, 1],
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name][1] == pytest.approx(value, rel=1e-5), name
        assert np.isnan(found[name][[0, 2, 3]]).all()


def test_just_the_threshold_is_bright(run):
    """15% of 20 / 65535 in float32 falls on one side of 3 / 65535, and must on the same always."""
    grey = np.full((*SHAPE, 2), 20)
    grey[5, 2:5, 0] = 3, 7, 20
    labels = np.zeros(SHAPE, np.int32)
    labels[5, 2:5] = 1
    floor = np.float32(0.15) * np.float32(20 / 65535)
    total = sum(level for level in (3, 7, 20) if np.float32(level / 65535) >= floor)
    found = run(scaled(grey), labels, costes=False)
    assert_close(found["K_A_B"][0], 20 * total / (400 + 49 + 9 * (total == 30)))


@pytest.mark.parametrize("percent", [0, 15, 62.5])
def test_one_object_equals_cp_measure(run, cells, percent):
    image = scaled(correlated())
    one = (cells == 2).astype(np.int32)
    found = run(image, one * 2, threshold_percent=percent, costes=False)
    planes = np.moveaxis(image, -1, 0).astype(np.float64)
    overlap = reference.get_correlation_overlap(*planes, one, thr=percent)
    manders = reference.get_correlation_manders_fold(*planes, one, thr=percent)
    weighted = reference.get_correlation_rwc(*planes, one, thr=percent)
    pearson = reference.get_correlation_pearson(*planes, one)
    assert_close(found["Overlap_A_B"][1], overlap["Correlation_Overlap"][0])
    assert_close(found["Correlation_A_B"][1], pearson["Correlation_Pearson"][0])
    for theirs, ours in ((overlap, "K"), (manders, "Manders"), (weighted, "RWC")):
        assert_close(found[f"{ours}_A_B"][1], theirs[f"Correlation_{ours}_1"][0])
        assert_close(found[f"{ours}_B_A"][1], theirs[f"Correlation_{ours}_2"][0])


@pytest.mark.parametrize("is_grid", [True, False])
def test_ranks_are_over_all_objects(run, cells, is_grid):
    image = scaled(correlated())
    if not is_grid:  # as after a flat-field, with negative pixels
        image = image * np.linspace(0.7, 1.3, SHAPE[1], dtype=np.float32)[:, None] - 1e-4
        image = image.astype(np.float32)
    found = run(image, cells, costes=False)
    inside = cells > 0
    ranks = [np.unique(plane[inside], return_inverse=True) for plane in np.moveaxis(image, -1, 0)]
    count = max(len(distinct) for distinct, _ in ranks)
    weight = 1 - abs(ranks[0][1] - ranks[1][1]) / count
    owner, pixels = cells[inside], image[inside].astype(np.float64)
    for label in (1, 2, 4):
        own, rank_weight = pixels[owner == label], weight[owner == label]
        is_bright = own >= 0.15 * own.max(axis=0)
        both = is_bright.all(axis=1)
        for channel, name in enumerate(("RWC_A_B", "RWC_B_A")):
            mine = own[:, channel]
            expected = (mine * rank_weight)[both].sum() / mine[is_bright[:, channel]].sum()
            assert_close(found[name][label - 1], expected)


@pytest.mark.parametrize("seed", range(3))
def test_costes_equals_cp_measure_in_a_field_of_one_object(run, seed):
    grey, full = correlated(seed), np.ones(SHAPE, np.int32)
    theirs = reference.get_correlation_costes(*np.moveaxis(grey, -1, 0), full)
    found = run(scaled(grey), full)
    assert_close(found["Costes_A_B"][0], theirs["Correlation_Costes_1"][0])
    assert_close(found["Costes_B_A"][0], theirs["Correlation_Costes_2"][0])
    assert found["Costes_A_B"][0] < 0.999


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_falling", [False, True])
@pytest.mark.parametrize("method", ["faster", "fast", "accurate"])
def test_thresholds_equal_cp_measure(method, is_falling, seed):
    """Steps of 1 / 512, so that cp_measure's sums of steps are exact."""
    image = correlated(seed, is_falling=is_falling) / np.float64(512)
    first, second = np.moveaxis(image, -1, 0)
    search = reference.bisection_costes if method == "faster" else reference.linear_costes
    expected = search(None, None, first.ravel(), second.ravel(), 512, method.capitalize())
    a, b = first.astype(np.float32), second.astype(np.float32)
    low = thresholds_cpu(a, first=levels(a), second=levels(b), method=method, scale_max=512)
    assert_close(low, expected)
    if method == "faster":
        assert_close(jax.jit(partial(thresholds_jax, scale_max=512))(a, b), expected)


def test_thresholds_of_more_values_than_steps():
    random = np.random.default_rng(0)
    shared, *noise = random.gamma(1, 0.05, (3, 300, 300)).astype(np.float32)
    a, b = shared + noise[0], shared / 2 + noise[1]
    a, b = np.minimum(a, 1), np.minimum(b, 1)
    given = levels(a), levels(b)
    assert min(len(found.values) for found in given) > 65536
    low = thresholds_cpu(a, first=given[0], second=given[1], method="faster", scale_max=65535)
    pixels = (plane.ravel().astype(np.float64) for plane in (a, b))
    expected = reference.bisection_costes(None, None, *pixels, 65535)
    assert expected[0] > 0.01
    assert_close(low, expected)


@pytest.mark.parametrize("method", ["faster", "fast", "accurate"])
def test_costes_thresholds_are_the_fields(run, cells, method):
    image = scaled(correlated(4), steps=512)
    first, second = np.moveaxis(image, -1, 0)
    given = levels(first), levels(second)
    low = thresholds_cpu(first, first=given[0], second=given[1], method=method, scale_max=512)
    both = (first > low[0]) & (second > low[1])
    assert 0 < both.mean() < 0.5
    found = run(image, cells, costes_method=method, scale_max=512)
    for plane, own_low, pair in ((first, low[0], "A_B"), (second, low[1], "B_A")):
        part = np.bincount(cells[both], plane[both], 5)[1:]
        own = np.bincount(cells[plane >= own_low], plane[plane >= own_low], 5)[1:]
        assert_close(
            found[f"Costes_{pair}"], np.where(own > 0, part / np.maximum(own, 1e-9), np.nan)
        )


def test_equals_cellprofiler(data_folder, reference_folder):
    """In the order of its pipeline, which Costes' search depends on."""
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    channels = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}
    planes = [tifffile.imread(next(folder.glob(f"*-ch{channels[s]}sk*.tiff"))) for s in PIPELINE]
    masks = reference_folder / "cellprofiler"
    labels = [tifffile.imread(masks / f"{name}_labels.tif") for name in COMPARTMENTS]
    stains = tuple(f"{at}{stain}" for at, stain in enumerate(PIPELINE))
    plan = plan_measurement(
        families=("Correlation",), stains=stains, max_cells=37, backend="cpu", threads=2
    )
    table = measure(scaled(np.stack(planes, axis=-1)), CellLabels(*labels), plan=plan)
    theirs = {
        name: pl.read_csv(masks / f"{name}.csv").sort("ObjectNumber") for name in COMPARTMENTS
    }
    assert len(plan.columns) == 300
    for at, column in enumerate(plan.columns):
        owner, feature = column.split("_", 1)
        for stain in stains:
            feature = feature.replace(stain, stain[1:])
        expected = theirs[owner][feature].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(table.features[:, at], expected, rtol=2e-6, err_msg=column)


def test_the_first_is_the_first_by_name(run, cells):
    """With the channels' contents swapped, so are the names of what is not symmetric."""
    image = scaled(correlated())
    found, swapped = (run(each, cells, costes=False) for each in (image, image[..., ::-1]))
    for name in ("Correlation_A_B", "Overlap_A_B"):
        assert_close(swapped[name], found[name])
    for name in PAIRED[:-1]:
        assert_close(swapped[f"{name}_A_B"], found[f"{name}_B_A"])
        assert_close(swapped[f"{name}_B_A"], found[f"{name}_A_B"])


def test_dimming_one_channel(run, cells):
    image = scaled(correlated())
    dimmed = image * np.array([1, 0.25], np.float32)
    found, dim = (run(each, cells, costes=False) for each in (image, dimmed))
    for name, values in found.items():
        factor = {"K_A_B": 0.25, "K_B_A": 4}.get(name, 1)
        assert_close(dim[name], factor * values)


def test_moving_and_relabelling(run, cells):
    """Costes too: the whole field moves, round a torus."""
    image = scaled(correlated())
    found = run(image, cells)
    new = np.array([0, 3, 1, 2, 4], np.int32)
    moved = run(np.roll(image, (-3, 5), (0, 1)), np.roll(new[cells], (-3, 5), (0, 1)))
    for name, values in found.items():
        assert_close(moved[name][[2, 0, 1, 3]], values)


@pytest.fixture
def edges(run):
    """Cells of four kinds: one pixel, black in A, nothing in common, saturated."""
    labels, image = np.zeros(SHAPE, np.int32), scaled(correlated(1))
    labels[1, 1] = 1
    labels[5:8, 5:8], labels[12:14, 3:6], labels[12:15, 20:25] = 2, 3, 4
    image[5:8, 5:8, 0] = 0
    image[12:14, 3:6] = np.array([[0.5, 0], [0.4, 0.01], [0, 0.6]])
    image[12:15, 20:25] = 1
    return run(image, labels)


def test_one_pixel(edges):
    assert np.isnan(edges["Correlation_A_B"][0])
    assert_close(edges["K_A_B"][0] * edges["K_B_A"][0], 1)
    assert [edges[name][0] for name in ("Overlap_A_B", "Manders_A_B", "Manders_B_A")] == [1, 1, 1]


def test_a_channel_that_is_black_in_an_object(edges):
    for name in ("Correlation_A_B", "Overlap_A_B", "K_A_B", "Manders_A_B", "RWC_A_B", "Costes_A_B"):
        assert np.isnan(edges[name][1]), name
    assert edges["K_B_A"][1] == 0
    assert edges["Manders_B_A"][1] == 1  # in CellProfiler too: 0 is 15% of 0
    assert 0 < edges["RWC_B_A"][1] < 1


def test_nothing_bright_in_both(edges):
    for name in ("Overlap_A_B", "K_A_B", "K_B_A"):
        assert np.isnan(edges[name][2]), name
    for name in ("Manders_A_B", "Manders_B_A", "RWC_A_B", "RWC_B_A"):
        assert edges[name][2] == 0, name


def test_saturated(edges):
    for name, values in edges.items():
        if not name.startswith("RWC"):  # ranks are of the other cells too
            expected = np.nan if name.startswith("Correlation") else 1
            np.testing.assert_allclose(values[3], expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("level", [0, 0.25])
def test_a_constant_channel_has_no_costes(run, cells, level):
    image = scaled(correlated())
    image[..., 1] = level
    found = run(image, cells)
    for name in ("Correlation_A_B", "Costes_A_B", "Costes_B_A"):
        assert np.isnan(found[name]).all(), name
    assert (found["Manders_A_B"][[0, 1, 3]] == 1).all()


def test_empty_fields(run):
    found = run(scaled(correlated()), np.zeros(SHAPE, np.int32))
    assert all(np.isnan(values).all() for values in found.values())
    black = run(np.zeros((*SHAPE, 2), np.float32), np.ones(SHAPE, np.int32))
    assert all(np.isnan(values).all() for values in black.values())


def test_both_kernels_find_the_same(cells):
    tables = []
    for backend in ("cpu", "jax"):
        plan = plan_measurement(
            families=("Correlation",), stains=("A", "B"), max_cells=MAX_CELLS, backend=backend
        )
        labels = CellLabels(cells, cells, np.zeros_like(cells))
        tables.append(measure(scaled(correlated(2)), labels, plan=plan).features)
    assert_close(tables[1], tables[0])


@pytest.mark.parametrize(
    "plane",
    [
        np.array([[0, 65535], [7, 7]]) / 65535,
        np.nextafter(np.array([[1, 300, 20000]]) / 65535, 1, dtype=np.float32),
        np.array([[0.5, -0.25, 0.0, -0.0, 3.0, 1e-8, 0.5, np.inf]]),
        np.random.default_rng(0).normal(size=(50, 60)),
        np.full((3, 2), -1.5),
    ],
    ids=["16 bits", "almost", "mixed", "noise", "constant"],
)
def test_levels_are_the_sorted_values(plane):
    plane = plane.astype(np.float32)
    found = levels(plane)
    np.testing.assert_array_equal(found.values[found.index], plane.ravel())
    assert (np.diff(found.values) > 0).all()


def test_names():
    columns = plan_measurement(
        families=("Correlation",), stains=("DNA", "AGP"), max_cells=1, backend="cpu"
    ).columns
    expected = ["Correlation_AGP_DNA", "Overlap_AGP_DNA"]
    expected += [f"{name}_{pair}" for name in PAIRED for pair in ("AGP_DNA", "DNA_AGP")]
    assert sorted(columns) == sorted(
        f"{owner}_Correlation_{name}" for owner in COMPARTMENTS for name in expected
    )


def test_options():
    assert correlation() == correlation(threshold_percent=15.0, costes=True)
    assert hash(correlation()) == hash(correlation())
    assert correlation() != correlation(threshold_percent=20)
    assert len(correlation(costes=False)) == len(correlation()) - 1
    assert [family.jax is None for family in correlation(costes_method="fast")][-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold_percent": 100}, "threshold_percent is 100; expected a number from 0 to below"),
        ({"threshold_percent": "15"}, "threshold_percent is '15'; expected a number"),
        ({"threshold_percent": float("nan")}, "threshold_percent is nan; expected a number"),
        ({"costes": 1}, "costes is 1; expected true or false"),
        ({"costes_method": "Fast"}, "costes_method is 'Fast'; expected one of faster, fast, acc"),
        ({"costes_method": ["fast"]}, r"costes_method is \['fast'\]; expected one of faster"),
        ({"scale_max": 1}, "scale_max is 1; expected a whole number from 2 to 65535"),
        ({"scale_max": 255.0}, "scale_max is 255.0; expected a whole number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadRecipe, match=message):
        correlation(**options)
