"""Features of whole fields against numpy, scikit-image, centrosome and CellProfiler's definitions.

CellProfiler's MeasureImageQuality is written down here once more, with scipy.
"""

from functools import partial

import jax
import numpy as np
import pytest
import tifffile
from centrosome.haralick import Haralick
from centrosome.smooth import smooth_with_function_and_mask
from centrosome.threshold import (
    get_otsu_threshold,
    inverse_log_transform,
    log_transform,
    sum_of_entropies,
    weighted_variance,
)
from scipy import ndimage
from skimage import filters

from plates.errors import BadRecipe, UnknownName
from profiler.measure import CellLabels, cpu, device, measure, plan_measurement
from profiler.measure.image.intensity import FieldIntensity
from profiler.measure.image.quality import image_quality
from profiler.measure.image.tally import tally
from profiler.measure.image.threshold import CELLS, NUCLEI, ThresholdCpu, ThresholdJax, threshold

INTENSITY = "profiler.measure.image.intensity:IMAGE_INTENSITY"
QUALITY = "profiler.measure.image.quality:image_quality"
THRESHOLD = "profiler.measure.image.threshold:threshold"
SCALES = (5, 10, 20, 50)


def plan_of(*families, backend="cpu", stains=("GFP", "DNA"), **options):
    return plan_measurement(
        families=families, stains=stains, max_cells=12, backend=backend, options=options
    )


@pytest.fixture(scope="module", params=["cpu", "jax"])
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def look(backend):
    """Features of a field of the one shape, by name without `Image_`."""
    plan = plan_of(INTENSITY, QUALITY, backend=backend)

    def found(image, labels=None):
        if labels is None:
            labels = CellLabels(*[np.zeros(image.shape[:2], np.int32)] * 3)
        table = measure(image, labels, plan=plan)
        assert table.image.dtype == np.float32
        names = (name.removeprefix("Image_") for name in plan.image_columns)
        return dict(zip(names, table.image, strict=True))

    return found


def planes():
    """Pairs of planes: noise, dim and 8-bit; cells, bright and 16-bit; and what goes wrong."""
    rng = np.random.default_rng(3)
    noise = rng.random((64, 80)) ** 4
    blobs = ndimage.gaussian_filter(rng.random((64, 80)), 3)
    blobs = (blobs - blobs.min()) / np.ptp(blobs)
    return {
        "integers": (np.round(noise * 50) / 255, np.round(blobs * 60000) / 65535),
        "floats": (noise * 0.3, 0.2 + blobs * 0.7),
        "saturated": (np.clip(noise * 2, 0, 1), np.clip(blobs * 1.5, 0, 1)),
        "two values": (noise > 0.5, blobs > 0.5),
        "one bright pixel": (np.arange(5120).reshape(64, 80) == 99, blobs),
    }


@pytest.fixture(scope="module", params=planes())
def image(request):
    return np.stack(planes()[request.param], axis=-1).astype(np.float32)


def intensities(pixels):
    median = np.median(pixels)
    return FieldIntensity(
        pixels.sum(dtype=float),
        pixels.mean(dtype=float),
        median,
        pixels.std(dtype=float),
        np.median(np.abs(pixels - median)),
        pixels.max(),
        pixels.min(),
        pixels.size,
        100 * (pixels == pixels.max()).mean(),
        *np.percentile(pixels, [25, 75]),
    )


def test_intensities_are_numpys(look, image, field):
    found = look(image, field.labels)
    outside = field.labels.cells == 0
    for stain, plane in zip(("GFP", "DNA"), np.moveaxis(image, -1, 0), strict=True):
        for suffix, pixels in (("", plane.ravel()), ("_BackgroundOnly", plane[outside])):
            expected = intensities(pixels)
            for name, value in expected._asdict().items():
                got = found[f"Intensity_{name}_{stain}{suffix}"]
                assert got == pytest.approx(value, rel=1e-5, abs=1e-7), (name, stain, suffix)


def test_background_is_all_without_cells_and_nothing_under_a_full_one(look, image):
    found = look(image)
    for name in FieldIntensity._fields:
        whole = found[f"Intensity_{name}_DNA"]
        assert found[f"Intensity_{name}_DNA_BackgroundOnly"] == pytest.approx(whole, rel=1e-6)
    full = np.ones(image.shape[:2], np.int32)
    covered = look(image, CellLabels(full, full, np.zeros_like(full)))
    for name in FieldIntensity._fields:
        assert covered[f"Intensity_{name}_DNA_BackgroundOnly"] == 0


def test_intensities_by_hand(look):
    """Half of the pixels .2, a quarter .4, a quarter .8."""
    image = np.full((64, 80, 2), 0.2, np.float32)
    image[:16], image[16:32] = 0.8, 0.4
    found = look(image)
    expected = {
        "MeanIntensity": 0.4,
        "MedianIntensity": 0.3,  # between the middle two
        "StdIntensity": 0.06**0.5,
        "MADIntensity": 0.1,  # of .1 (three quarters) and .5
        "MaxIntensity": 0.8,
        "MinIntensity": 0.2,
        "TotalArea": 5120,
        "TotalIntensity": 0.4 * 5120,
        "PercentMaximal": 25,
        "LowerQuartileIntensity": 0.2,
        "UpperQuartileIntensity": 0.5,  # rank 3839.25: a quarter of the way from .4 to .8
    }
    for name, value in expected.items():
        assert found[f"Intensity_{name}_GFP"] == pytest.approx(value, rel=1e-5), name
        if "Quartile" not in name:
            assert found[f"ImageQuality_{name}_OrigGFP"] == found[f"Intensity_{name}_GFP"], name
    assert found["ImageQuality_PercentMinimal_OrigGFP"] == pytest.approx(50)


@pytest.mark.parametrize("kind", ["steps", "floats", "negative", "too bright", "negative zero"])
def test_a_tally_is_the_sorted_plane(kind):
    rng = np.random.default_rng(0)
    plane = rng.choice(np.array([0, 0.25, 0.5, 1]), (9, 11))
    plane = plane + {"floats": 1e-3, "negative": -0.5, "too bright": 7}.get(kind, 0) * rng.random()
    plane = np.where(kind == "negative zero", -plane, plane).astype(np.float32)
    inside = rng.random(plane.shape) > 0.6
    for found, pixels in (
        (tally(plane), plane.ravel()),
        (tally(plane).without(tally(plane[inside])), plane[~inside]),
    ):
        assert found.area == len(pixels)
        np.testing.assert_array_equal(found.at(np.arange(len(pixels))), np.sort(pixels))
        assert found.up_to(0.5) == (pixels <= 0.5).sum()
        assert found.up_to(-9.0) == 0


def local_focus(plane, scale):
    plane, shape = plane.astype(float), np.array(plane.shape)
    counts = (shape + scale - 1) // scale
    at = (np.indices(plane.shape) * counts[:, None, None] / shape[:, None, None]).astype(int)
    block = at[0] * counts[1] + at[1] + 1
    every = np.arange(1, counts.prod() + 1)
    means = ndimage.mean(plane, block, every)
    lit = means != 0
    if not lit.any():
        return 0
    with np.errstate(invalid="ignore"):  # scipy looks at block 0 too
        normalised = ndimage.variance(plane, block, every)[lit] / means[lit]
    middle = np.median(normalised)
    return np.var(normalised) / middle if middle > 1e-12 else 0


def correlation(plane, scale):
    with np.errstate(all="ignore"):
        found = Haralick(plane, np.ones(plane.shape, int), 0, scale).H3()[0]
    return found if np.isfinite(found) else 0


def power_slope(plane):
    """As centrosome.radial_power_spectrum, which numpy 2 no longer runs, and CellProfiler."""
    if np.ptp(plane) == 0:
        return 0
    plane = plane.astype(float)
    away = [np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in plane.shape]
    ring = np.floor(np.hypot(away[0][:, None], away[1])).astype(int) + 1
    radius = np.arange(2, min(plane.shape) // 8)
    power = ndimage.sum(np.abs(np.fft.fft2(plane - plane.mean())) ** 2, ring, radius)
    return np.polyfit(np.log(radius), np.log(power), 1)[0] if len(radius) > 1 else 0


def quality(plane, scales=SCALES):
    mean, variance = plane.mean(dtype=float), plane.var(dtype=float)
    with np.errstate(all="ignore"):
        otsu = {
            "2W": get_otsu_threshold(plane),
            "3FW": get_otsu_threshold(plane, two_class_otsu=False),
        }
    return {
        "FocusScore_Orig{}": variance / mean if mean > 0 else 0,
        "PowerLogLogSlope_Orig{}": power_slope(plane),
        "PercentMaximal_Orig{}": 100 * (plane == plane.max()).mean(),
        "PercentMinimal_Orig{}": 100 * (plane == plane.min()).mean(),
        **{f"LocalFocusScore_Orig{{}}_{scale}": local_focus(plane, scale) for scale in scales},
        **{f"Correlation_Orig{{}}_{scale}": correlation(plane, scale) for scale in scales},
        **{f"ThresholdOtsu_Orig{{}}_{kind}": value for kind, value in otsu.items()},
    }


def assert_quality(found, stain, expected):
    for name, value in expected.items():
        got = found["ImageQuality_" + name.format(stain)]
        assert got == pytest.approx(value, rel=1e-4, abs=1e-6), (name, stain)


def test_quality_is_cellprofilers(look, image):
    found = look(image)
    for channel, stain in enumerate(("GFP", "DNA")):
        assert_quality(found, stain, quality(image[..., channel]))


def test_quality_of_a_real_field(data_folder):
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    plane = tifffile.imread(next(folder.glob("*-ch5sk*.tiff"))).astype(np.float32) / 65535
    labels = CellLabels(*[np.zeros(plane.shape, np.int32)] * 3)
    plan = plan_of(QUALITY, stains=("DNA",))
    table = measure(plane[..., None], labels, plan=plan)
    names = (name.removeprefix("Image_") for name in plan.image_columns)
    found = dict(zip(names, table.image, strict=True))
    assert_quality(found, "DNA", quality(plane))
    assert found["ImageQuality_Scaling_OrigDNA"] == 65535


@pytest.mark.parametrize("value", [0, 0.3, 1])
def test_a_constant_field(look, value):
    found = look(np.full((64, 80, 2), value, np.float32))
    for name in ("FocusScore", "PowerLogLogSlope", "StdIntensity", "MADIntensity"):
        assert found[f"ImageQuality_{name}_OrigGFP"] == 0, name
    for scale in SCALES:
        assert found[f"ImageQuality_LocalFocusScore_OrigGFP_{scale}"] == 0
        assert found[f"ImageQuality_Correlation_OrigGFP_{scale}"] == 0
    for name in ("PercentMaximal", "PercentMinimal"):
        assert found[f"ImageQuality_{name}_OrigGFP"] == pytest.approx(100)
    for kind in ("2W", "3FW"):
        otsu = found[f"ImageQuality_ThresholdOtsu_OrigGFP_{kind}"]
        assert otsu == pytest.approx(max(value, np.finfo(np.float32).eps), rel=1e-5)


def test_stripes_correlate_with_themselves(look):
    """Each is 20 pixels wide: what is 20 to the right is the opposite."""
    stripes = np.broadcast_to(np.arange(80) // 20 % 2, (64, 80)).astype(np.float32)
    found = look(np.stack([stripes] * 2, axis=-1))
    assert found["ImageQuality_Correlation_OrigGFP_20"] == pytest.approx(-1)
    expected = np.corrcoef(stripes[0, :-10], stripes[0, 10:])[0, 1]
    assert found["ImageQuality_Correlation_OrigGFP_10"] == pytest.approx(expected, abs=1e-6)


def test_blur_shows(look):
    sharp = planes()["floats"][0]
    blurred = ndimage.gaussian_filter(sharp, 2)
    found = look(np.stack([sharp, blurred], axis=-1).astype(np.float32))
    for name in ("FocusScore_Orig{}", "LocalFocusScore_Orig{}_10", "PowerLogLogSlope_Orig{}"):
        name = "ImageQuality_" + name
        assert found[name.format("GFP")] > found[name.format("DNA")], name
    assert found["ImageQuality_Correlation_OrigGFP_5"] < found["ImageQuality_Correlation_OrigDNA_5"]


def test_scaling_is_what_the_pixels_tell(look):
    rng = np.random.default_rng(1)
    eight, sixteen = rng.integers(0, 256, (64, 80)) / 255, rng.integers(0, 65536, (64, 80)) / 65535
    found = look(np.stack([eight, sixteen], axis=-1).astype(np.float32))
    assert found["ImageQuality_Scaling_OrigGFP"] == 255
    assert found["ImageQuality_Scaling_OrigDNA"] == 65535
    corrected = look(np.stack([sixteen * 0.987, sixteen > 0.5], axis=-1).astype(np.float32))
    assert np.isnan(corrected["ImageQuality_Scaling_OrigGFP"])
    assert np.isnan(corrected["ImageQuality_Scaling_OrigDNA"])  # only 0 and 1


def test_background_subtracted_fields(look):
    """Negative pixels count as 0 for the thresholds, and as themselves elsewhere."""
    plane = (planes()["floats"][0] - 0.01).astype(np.float32)
    found = look(np.stack([plane, np.maximum(plane, 0)], axis=-1))
    assert found["ImageQuality_MinIntensity_OrigGFP"] == plane.min() < 0
    for kind in ("2W", "3FW"):
        otsu = [found[f"ImageQuality_ThresholdOtsu_Orig{stain}_{kind}"] for stain in ("GFP", "DNA")]
        assert otsu[0] == pytest.approx(otsu[1], rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_flip(look, axis):
    """Blocks that are not all equal and the rings of the spectrum are not symmetrical."""
    image = np.stack(planes()["floats"], axis=-1).astype(np.float32)
    found, expected = look(np.flip(image, axis)), look(image)
    for name, value in expected.items():
        if "PowerLogLogSlope" not in name and "LocalFocusScore" not in name:
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name


def test_small_fields(backend):
    """Up to 3 blocks a side, and no ring of frequencies."""
    image = np.random.default_rng(5).random((10, 12, 1)).astype(np.float32)
    plan = plan_of(QUALITY, backend=backend, stains=("DNA",), **{QUALITY: {"scales": [4, 9]}})
    labels = CellLabels(*[np.zeros((10, 12), np.int32)] * 3)
    found = measure(image, labels, plan=plan).image
    names = (name.removeprefix("Image_") for name in plan.image_columns)
    assert_quality(
        dict(zip(names, found, strict=True)), "DNA", quality(image[..., 0], scales=(4, 9))
    )
    with pytest.raises(BadRecipe, match="Image_ImageQuality needs a field of at least 10 pixels"):
        measure(image[:9], CellLabels(*(label[:9] for label in labels)), plan=plan)


def thresholds(backend, method, plane):
    if backend == "cpu":
        objects = cpu.pack(np.ones(plane.shape, np.int32), max_cells=1)
        return ThresholdCpu(method)(cpu.Signal(objects, plane))
    return _traced(plane, method=method)


@partial(jax.jit, static_argnames="method")
def _traced(plane, *, method):
    objects = device.pack(jax.numpy.ones(plane.shape, "int32"), max_cells=1)
    return ThresholdJax(method)(device.Signal(objects, plane))


def cross_entropy(plane):
    finest = max(np.diff(np.unique(plane)).min() / 2, 0.5 / 65536)
    return filters.threshold_li(plane.copy(), tolerance=finest)


def three_classes(plane):
    logs, back = log_transform(plane)
    return inverse_log_transform(filters.threshold_multiotsu(logs, nbins=128)[0], back)


def judged(plane, is_bright):
    everywhere = np.ones(plane.shape, bool)
    entropies = sum_of_entropies(plane, everywhere, is_bright)
    return entropies, weighted_variance(plane, everywhere, is_bright)


def assert_threshold(found, expected):
    for name, got, value in zip(found._fields, found, expected, strict=True):
        assert got.shape == (1,)
        assert got[0] == pytest.approx(value, rel=1e-5, abs=1e-5), name


def smoothed(plane):
    blur = partial(ndimage.gaussian_filter, sigma=1 / 0.6744 / 2, mode="constant")
    return smooth_with_function_and_mask(plane, blur, np.ones(plane.shape, bool))


@pytest.mark.parametrize("channel", [0, 1])
def test_thresholds_are_cellprofilers(backend, image, channel):
    plane = np.ascontiguousarray(image[..., channel])
    original = cross_entropy(plane)
    final = min(max(original, 0.005), 1)
    expected = (final, original, *judged(plane, smoothed(plane) >= final))
    assert_threshold(thresholds(backend, NUCLEI, plane), expected)
    if len(np.unique(plane)) > 2:
        original = three_classes(plane)
        final = min(max(original * 0.7, 0.005), 0.06)
        expected = (final, original, *judged(plane, plane >= final))
        assert_threshold(thresholds(backend, CELLS, plane), expected)


def test_thresholds_of_two_values_and_of_one(backend):
    plane = np.zeros((64, 80), np.float32)
    black = thresholds(backend, NUCLEI, plane)
    assert_threshold(black, (0.005, 0, 0, 0))
    assert_threshold(thresholds(backend, CELLS, plane), (0.005, 0, 0, 0))
    assert_threshold(thresholds(backend, NUCLEI, plane + 0.5), (0.5, 0.5, 0, 0))
    assert_threshold(thresholds(backend, CELLS, plane + 0.5), (0.06, 0.5, 0, 0))
    plane[:30] = 1
    for value in thresholds(backend, CELLS, plane):  # no three classes
        assert np.isnan(value[0])


def test_image_columns_are_jumps(reference_folder):
    jump = set((reference_folder / "jump_feature_columns.txt").read_text().split())
    stains = ("DNA", "RNA", "AGP", "Mito", "ER")
    columns = plan_of(INTENSITY, QUALITY, stains=stains).image_columns
    wanted = {n for n in jump if n.startswith(("Image_Intensity", "Image_ImageQuality"))}
    extra = {
        f"Image_ImageQuality_ThresholdOtsu_Orig{stain}_{kind}"
        for stain in stains
        for kind in ("2W", "3FW")
    }
    assert wanted <= set(columns) <= wanted | extra


def test_threshold_columns_are_jumps(reference_folder):
    jump = (reference_folder / "jump_feature_columns.txt").read_text().split()
    wanted = {n for n in jump if n.startswith("Image_Threshold") and not n.endswith("mito_bw")}
    stains = ("DNA", "RNA", "AGP")
    assert set(plan_of(THRESHOLD, stains=stains).image_columns) == wanted
    only = plan_of(THRESHOLD)
    assert set(only.image_columns) == {name for name in wanted if "Nuclei" in name}
    named = plan_of(THRESHOLD, **{THRESHOLD: {"cells": "GFP"}})
    assert set(named.image_columns) == wanted
    assert [run.picks for run in named.runs] == [((1,),), ((0,),)]
    assert plan_of(THRESHOLD) == only


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cells": "RNA"}, UnknownName, "channel to threshold called 'RNA'. Did you mean 'DNA'"),
        ({"nuclei": 3}, BadRecipe, "Threshold found 3; expected a stain, as nuclei = 'DNA'"),
    ],
)
def test_bad_thresholds(options, error, message):
    with pytest.raises(error, match=message):
        plan_of(THRESHOLD, **{THRESHOLD: options})


def test_equal_options_are_equal_families():
    assert image_quality() == image_quality(scales=[5, 10, 20, 50], otsu=["2W", "3FW"])
    assert hash(image_quality()) == hash(image_quality())
    assert image_quality() != image_quality(scales=[5])
    assert threshold() == threshold()
    assert threshold() != threshold(nuclei="DNA")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": 5}, "ImageQuality found scales = 5; expected a list of whole pixels, at lea"),
        ({"scales": [5, 0]}, r"scales = \[5, 0\]; expected a list of whole pixels"),
        ({"scales": [2.5]}, r"scales = \[2\.5\]; expected a list of whole pixels"),
        ({"otsu": "2W"}, "otsu = '2W'; expected a list of 2W, 3FW, 3BW"),
        ({"otsu": ["2S"]}, r"otsu = \['2S'\]; expected a list of 2W, 3FW, 3BW"),
        ({"otsu": [["2W"]]}, r"otsu = \[\['2W'\]\]; expected a list of 2W"),
        ({"blur": [5]}, "refused its options: .*unexpected keyword argument 'blur'"),
    ],
)
def test_bad_quality(options, message):
    with pytest.raises(BadRecipe, match=message):
        plan_of(QUALITY, **{QUALITY: options})
