"""Recipes: what stands for a well's cells, and readouts that say which of several it is."""

import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.profile.wells.aggregate import SUMMARIES
from profiler.recipe import Recipe, parse_recipe
from profiler.request import check_recipe, measured_readouts

AREA = "Nuclei_AreaShape_Area"


def recipe(how: object, *, readout: object = None) -> Recipe:
    table = {"name": "x", "images": {"channels": {"DNA": "1"}}}
    return parse_recipe(table | {"profile": {"aggregate": how}, "hits": {"readout": readout}})


def test_every_summary_of_wells_may_be_asked_for():
    for name in SUMMARIES:
        check_recipe(recipe(name))
    several = recipe(["median", "mad"])
    check_recipe(several)
    assert several.profile.aggregate == ("median", "mad")
    assert parse_recipe(several.model_dump(mode="json")) == several


def test_a_readout_of_several_summaries_names_its_own():
    assert measured_readouts(recipe("mad", readout=AREA)) == (AREA,)
    assert measured_readouts(recipe("mad")) == ()
    both = recipe(["median", "mad"], readout=[f"{AREA}_mad", f"{AREA}_median"])
    assert measured_readouts(both) == (AREA, AREA)
    with pytest.raises(BadRecipe, match=f"gives median, mad of every .* Take {AREA}_median, or"):
        check_recipe(recipe(["median", "mad"], readout=AREA))


@pytest.mark.parametrize("how", ["mode", ["median", "mode"]])
def test_unknown_summaries(how):
    message = r"no summary \(\[profile\] aggregate\) called 'mode'\. Known: median, mean"
    with pytest.raises(UnknownName, match=message):
        check_recipe(recipe(how))


@pytest.mark.parametrize("how", [[], ["mad", "mad"]])
def test_none_and_twice(how):
    with pytest.raises(BadRecipe, match="aggregate needs one summary or more, each of them once"):
        check_recipe(recipe(how))
