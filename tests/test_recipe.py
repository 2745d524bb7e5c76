"""Recipes: what stands for a well's cells, and readouts that say which of several it is."""

import pytest

from plates.errors import BadRecipe, UnknownName
from plates.imageset import image_sets
from plates.readers import scan
from profiler.profile.wells.aggregate import SUMMARIES
from profiler.recipe import RECIPES, Recipe, load_recipe, parse_recipe
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


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (
            {"channels": ["DNA"]},
            r"\[embed\] channels are for an encoder; name one as \[embed\] model",
        ),
        ({"model": "cells", "channels": ["DNA", "DNA"]}, r"once; found \['DNA', 'DNA'\]"),
    ],
)
def test_channels_of_an_encoder(embed, message):
    table = {"name": "x", "images": {"channels": {"DNA": "1", "ER": "2"}}}
    parse_recipe(table | {"embed": {"model": "cells", "channels": ["ER", "DNA"]}})
    with pytest.raises(BadRecipe, match=message):
        parse_recipe(table | {"embed": embed})


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_whole(name):
    shipped = load_recipe(name)
    check_recipe(shipped)
    assert shipped.description
    assert parse_recipe(shipped.model_dump(mode="json")) == shipped


def test_cell_painting_knows_the_stains_of_a_jump_plate(data_folder, tmp_path):
    """Phenix channels of the JUMP consortium's production plates, in its LoadData's names."""
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    stains = {"Mito": 1, "AGP": 2, "RNA": 3, "ER": 4, "DNA": 5}
    row = {"Metadata_Plate": "BR00143976", "Metadata_Well": "C03", "Metadata_Site": "3"}
    for stain, number in stains.items():
        row[f"FileName_Orig{stain}"] = f"r03c03f03p01-ch{number}sk1fk1fl1.tiff"
        row[f"PathName_Orig{stain}"] = str(folder)
    table = tmp_path / "load_data.csv"
    table.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    channels = load_recipe("cell_painting").images.channels
    (found,) = image_sets(scan(table), channels=channels).to_dicts()
    named = {stain: found[f"path_{stain}"][0].rpartition("-ch")[2][0] for stain in channels}
    assert named == {stain: str(number) for stain, number in stains.items()}
