"""Which columns are features."""

import numpy as np
import polars as pl
import pytest

from profiler.profile import feature_columns, phenotype_features
from profiler.profile.features import finite, free_of_rotation, with_mean_textures

TABLE = pl.DataFrame(
    {
        "Metadata_Site": [1],
        "Cells_AreaShape_Area": [9.0],
        "Nuclei_AreaShape_EulerNumber": [1],
        "Cytoplasm_Intensity_MeanIntensity_DNA": pl.Series([0.5], dtype=pl.Float32),
        "Cells_Note_Text": ["round"],
        "Cells_Flag_Bool": [True],
        "Image_Texture_Contrast": [0.1],
        "CellsPerField": [3.0],
    }
)


@pytest.mark.parametrize("frame", [TABLE, TABLE.lazy()], ids=["eager", "lazy"])
def test_features_are_numeric_columns_of_the_three_compartments(frame):
    assert feature_columns(frame) == [
        "Cells_AreaShape_Area",
        "Nuclei_AreaShape_EulerNumber",
        "Cytoplasm_Intensity_MeanIntensity_DNA",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Nuclei_Location_Center_X",
        "Nuclei_Location_CenterMassIntensity_X_DNA",
        "Cells_AreaShape_Center_Y",
        "Cells_AreaShape_BoundingBoxMinimum_X",
        "Cells_AreaShape_BoundingBoxMaximum_Y",
        "Cells_Number_Object_Number",
        "Cells_Neighbors_FirstClosestObjectNumber_5",
        "Cytoplasm_Parent_Nuclei",
        "Nuclei_Children_Cells_Count",
    ],
)
def test_positions_and_identities_are_no_phenotype(name):
    assert phenotype_features([name]) == []


@pytest.mark.parametrize(
    "name",
    [
        "Cells_AreaShape_BoundingBoxArea",
        "Cells_Neighbors_NumberOfNeighbors_5",
        "Nuclei_RadialDistribution_FracAtD_DNA_1of4",
        "Nuclei_AreaShape_EulerNumber",
        "Cells_Intensity_MassDisplacement_ER",
    ],
)
def test_looks_are_phenotype(name):
    assert phenotype_features([name]) == [name]


def test_the_jump_list_loses_only_positions_and_identities(reference_folder):
    names = (reference_folder / "jump_feature_columns.txt").read_text().split()
    cells = [name for name in names if name.startswith(("Cells_", "Cytoplasm_", "Nuclei_"))]
    lost = set(cells) - set(phenotype_features(cells))
    assert lost
    words = ("Location", "Number", "BoundingBoxM", "Center", "Parent", "Children")
    assert [name for name in lost if not any(word in name for word in words)] == []
    assert len(lost) < 0.05 * len(cells)


def test_what_says_how_a_cell_lies_is_left_out_and_textures_lose_their_direction():
    lies = ["Orientation", "BoundingBoxArea", "Extent", "NormalizedMoment_1_2", "InertiaTensor_0_1"]
    looks = ["Cells_AreaShape_Zernike_2_2", "Cells_AreaShape_HuMoment_0", "Embedding_0300"]
    textures = [
        f"Nuclei_Texture_Entropy_DNA_{scale}_0{i}_256" for scale in (3, 5) for i in range(4)
    ]
    names = [*(f"Cells_AreaShape_{name}" for name in lies), *looks, *textures[2:]]
    means = ["Nuclei_Texture_Entropy_DNA_3_256", "Nuclei_Texture_Entropy_DNA_5_256"]
    assert free_of_rotation(names) == [*looks, *means]
    assert free_of_rotation(["Cells_RadialDistribution_ZernikePhase_DNA_1_1", "Cells_X"]) == [
        "Cells_X"
    ]


def test_textures_are_averaged_over_directions():
    textures = {f"Cells_Texture_Entropy_my-ER_1_10_0{i}_256": [i + 1.0, i, i, i] for i in range(4)}
    textures["Cells_Texture_Entropy_my-ER_1_10_03_256"][1:3] = [None, float("nan")]
    other = {"Nuclei_Texture_F1": [1.0] * 4, "Image_Texture_Entropy_ER_3_00_256": [2.0] * 4}
    table = pl.DataFrame(textures | other, strict=False)
    found = with_mean_textures(table.lazy()).collect()
    assert found.columns == [*table.columns, "Cells_Texture_Entropy_my-ER_1_10_256"]
    assert found.select(table.columns).equals(table)
    mean = found["Cells_Texture_Entropy_my-ER_1_10_256"]
    assert mean[0] == 2.5
    assert mean[1] is None
    assert np.isnan(mean[2])
    assert mean[3] == 1.5
    assert free_of_rotation(textures) == [mean.name]


def test_finite_turns_nan_and_infinity_to_null():
    frame = pl.DataFrame({"x": [1.0, float("nan"), float("inf"), float("-inf"), None], "y": 2})
    result = frame.select(finite(["x", "y"]))
    assert result["x"].to_list() == [1.0, None, None, None, None]
    assert result["y"].to_list() == [2.0] * 5
