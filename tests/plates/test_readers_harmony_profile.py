"""Harmony's flat-field profiles: real ones, what they do to a field, and those that lack a part.

The numbers are those of indexes in broadinstitute/pe2loaddata: tests/data/Version1 (channels 1 and
4, with a foreground), tests/data/Version5 (channel 3), tests/data/Version7 (channel 1, and the
three without a profile) and tests/data/Index.idx.xml (the foreground of channel 1).
"""

import json

import numpy as np
import pytest

from plates.errors import BadPlate
from plates.readers import scan
from plates.readers.flatfield import read_flat_field
from plates.readers.harmony_profile import is_given, surfaces

BACKGROUNDS = {  # mean, side of the image, coefficients
    "v1 ch1": (1039.144, 1080, [[1.236], [0.0166, -0.0248], [-1.4054, 0.0453, -1.4199],
        [-0.0348, 0.0706, 0.059, 0.0164], [-0.7927, -0.311, 1.7813, 0.1091, -0.2441]]),
    "v1 ch4": (631.24558, 1080, [[1.2852], [-0.0051, -0.0276], [-1.5697, 0.0846, -1.2915],
        [-0.1869, 0.2959, 0.1158, -0.0858], [-2.4044, -0.7164, 2.4711, 0.373, -2.7085]]),
    "v5 ch3": (1857.9666, 1080, [[1.3708], [-0.3709, -0.2522], [-1.9677, 0.0603, -2.7414],
        [0.4256, 0.1765, 0.6162, 0.0444], [-0.5242, 0.1835, 1.4438, 0.2333, 1.4528]]),
    "v7 ch1": (443.79058, 2160, [[1.2132], [0.0658, -0.0855], [-1.4032, 0.1826, -1.4825],
        [0.0734, 0.1758, -0.4316, 0.1203], [0.5964, 0.3209, 1.9003, -0.8456, 0.5334]]),
}  # fmt: skip
FOREGROUNDS = {
    "v1 ch1": (1080, [[1.1947], [-0.108, -0.0533], [-0.3225, 0.2452, -1.5681],
        [0.8772, 0.7688, 0.1159, 0.139], [-4.4769, -1.1136, 1.0412, -0.3679, 0.9251]]),
    "v1 ch4": (1080, [[1.3642], [0.0058, -0.0683], [-1.9398, 0.0137, -2.4789],
        [-0.2743, 0.5595, 0.0589, 0.0554], [-1.6125, 0.0747, 2.7527, 0.1039, 0.4087]]),
    "idx ch1": (2160, [[1.2783], [-0.0083, 0.0456], [-2.0559, 0.163, -1.9127],
        [0.1297, 0.1279, -0.1418, -0.3429], [1.5268, -0.1049, 3.0383, -0.6621, 0.9749]]),
}  # fmt: skip
NULL = "Background: {Character: Null, Mean: NaN, Profile: {Type: Identity}, Quality: 0.25}"
EMPTY = {  # what Harmony writes of channels in which it found nothing
    "v7 ch2": f"{{{NULL}, Channel: 2, ChannelName: Alexa 568, Version: Acapella:2013}}",
    "v7 ch4": f'{{{NULL}, Channel: 4, ChannelName: "405ex, 570-630-em)", Version: Acapella:2013}}',
    "v7 ch7": "{Background: {Character: Null, Profile: {Type: Identity}, Quality: 1}, Channel: 7}",
}
SHAPE = (108, 108)  # a tenth of the real side: the polynomials are stretched to it


def polynomial(side: int, coefficients: list, **more: str) -> str:
    facts = {
        "Coefficients": json.dumps(coefficients), "Dims": f"[{side}, {side}]",
        "Origin": f"[{side / 2 - 0.5}, {side / 2 - 0.5}]",
        "Scale": f"[{1 / side:.11f}, {1 / side:.11f}]", "Type": "Polynomial",
    } | more  # fmt: skip
    return f"Profile: {{{', '.join(f'{key}: {value}' for key, value in facts.items())}}}"


def background(name: str, mean: str = "", **more: str) -> str:
    known, side, coefficients = BACKGROUNDS[name]
    return (
        f"Background: {{Character: NonFlat, Mean: {mean or known}, NoiseConst: 1.9380331, "
        "NonFlatness: {Corrected: 0.10724404, Original: 0.51061863, Random: INF}, "
        f"{polynomial(side, coefficients, **more)}, Quality: 1.0}}"
    )


def foreground(name: str, **more: str) -> str:
    return f"Foreground: {{Character: NonFlat, {polynomial(*FOREGROUNDS[name], **more)}}}"


def profile(*parts: str) -> str:
    return "{" + ", ".join((*parts, "Channel: 1", 'ChannelName: "a, b)"')) + "}"


def shape_of(coefficients: list) -> np.ndarray:
    """The polynomial as the MATLAB and Python code published for it sums it, of SHAPE."""
    centre = (np.arange(SHAPE[0]) + 0.5) / SHAPE[0] - 0.5  # in sides, from the middle
    x, y = np.meshgrid(centre, centre)
    terms = [
        c * x ** (order - j) * y**j
        for order, row in enumerate(coefficients)
        for j, c in enumerate(row)
    ]
    return np.sum(terms, axis=0)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_real_profiles_are_shapes_with_a_mean_of_1(name):
    mean, *_ = BACKGROUNDS[name]
    flat, off = surfaces(profile(background(name)), shape=SHAPE)
    assert flat.dtype == off.dtype == np.float32
    assert (flat == 1).all()
    assert (off / mean + 1).mean() == pytest.approx(1, abs=5e-4)
    assert off.min() < -0.3 * mean  # corners are darker than the mean: it is no offset in counts
    assert off.max() > 0.1 * mean


@pytest.mark.parametrize("name", FOREGROUNDS)
def test_real_foregrounds_are_as_given(name):
    flat, off = surfaces(profile(NULL, foreground(name)), shape=SHAPE)
    np.testing.assert_allclose(flat, shape_of(FOREGROUNDS[name][1]), rtol=1e-6)
    assert flat.mean() == pytest.approx(1, abs=5e-4)
    assert not off.any()


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_an_empty_field_gets_level_at_its_mean_and_keeps_its_noise(name):
    mean, _, shape = BACKGROUNDS[name]
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    flat, off = surfaces(profile(background(name)), shape=SHAPE)
    corrected = (mean * shape_of(shape) + noise - off) / flat
    np.testing.assert_allclose(corrected, mean + noise, rtol=1e-5)
    assert corrected.min() > 0  # a run keeps images of whole numbers above 0: nothing is cut off


@pytest.mark.parametrize("name", ["v1 ch1", "v1 ch4"])
def test_with_a_foreground_cells_and_background_are_even(name):
    mean, _, dark = BACKGROUNDS[name]
    cells = np.random.default_rng(0).integers(0, 2, SHAPE) * 5000.0
    raw = mean * shape_of(dark) + shape_of(FOREGROUNDS[name][1]) * cells
    flat, off = surfaces(profile(background(name), foreground(name)), shape=SHAPE)
    np.testing.assert_allclose((raw - off) / flat, mean + cells, rtol=1e-5)


def test_cells_stay_uneven_where_there_is_no_foreground():
    mean, _, dark = BACKGROUNDS["v1 ch4"]
    lit = shape_of(FOREGROUNDS["v1 ch4"][1])
    flat, off = surfaces(profile(background("v1 ch4")), shape=SHAPE)
    cells = (mean * shape_of(dark) + 5000 * lit - off) / flat - mean
    np.testing.assert_allclose(cells, 5000 * lit, rtol=1e-4)


def test_a_level_background_is_not_divided_by_the_foreground():
    level = "Background: {Character: Flat, Mean: 120.5, Profile: {Type: Identity}}"
    flat, off = surfaces(profile(level, foreground("v1 ch4")), shape=SHAPE)
    np.testing.assert_allclose((120.5 - off) / flat, 120.5, rtol=1e-5)
    without = surfaces(profile(level.replace("Mean: 120.5, ", "")), shape=SHAPE)
    assert (without[0] == 1).all()
    assert not without[1].any()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((background("v1 ch4", mean="NaN"),), "its Background has the Mean NaN, expected grey lev"),
        (
            (background("v1 ch4", mean="INF"), foreground("v1 ch4")),
            "its Background has the Mean INF, exp",
        ),
        ((background("v1 ch4").replace("Mean", "Median"),), "its Background has no Mean, expected"),
        ((background("v1 ch4", Type="Spline"),), "its Background is a Spline, expected a Polyn"),
        ((foreground("v1 ch4", Type="Spline"),), "its Foreground is a Spline, expected a Polyn"),
        (("Foreground: {Character: NonFlat}",), "its Foreground is NonFlat and has no Coeffici"),
        (("Background: {Character: NonFlat, Mean: 9}",), "its Background is NonFlat and has no C"),
    ],
)
def test_profiles_that_lack_a_part_are_refused(lit, parts, message):
    (address,) = scan(lit(profile(*parts)))["flat_field"].drop_nulls().unique()
    message = rf"Index\.idx\.xml: the flat-field profile of channel 1 cannot be read \({message}"
    with pytest.raises(BadPlate, match=message + r".*\)\. Fit a profile instead"):
        read_flat_field(address, shape=SHAPE)


@pytest.fixture
def lit(trees, tmp_path):
    """A plate whose first channel has a profile."""

    def lit(text: str):
        home = trees["harmony"](tmp_path / "scan", version=6, index="Index.idx.xml")
        index = home / "Images/Index.idx.xml"
        entry = "<Entry ChannelID='1'>"
        said = f"{entry}<FlatfieldProfile>{text}</FlatfieldProfile>"
        index.write_text(index.read_text().replace(entry, said))
        return home

    return lit


@pytest.mark.parametrize("name", EMPTY)
def test_what_harmony_did_not_find_is_no_profile(lit, name):
    assert not is_given(EMPTY[name])
    home = lit(EMPTY[name])
    assert scan(home)["flat_field"].null_count() == 8
    flat, off = read_flat_field(f"{home}/Images/Index.idx.xml#channel=1", shape=SHAPE)
    assert (flat == 1).all()
    assert not off.any()


@pytest.mark.parametrize(
    "text",
    [
        profile(background("v7 ch1")),
        profile(NULL, foreground("idx ch1")),
        profile(NULL, "Foreground: {Character: Flat, Profile: {Type: Identity}, Quality: 1}"),
        '{"Foreground": {"Character": "NonFlat", "Profile": {',
    ],
)
def test_what_harmony_found_or_what_is_damaged_is_told(lit, text):
    assert scan(lit(text))["flat_field"].null_count() == 4
