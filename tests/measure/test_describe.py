"""docs/features.md says what the code does."""

from pathlib import Path

from profiler.measure import FAMILIES
from profiler.measure.describe import describe, families_of

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == describe(), "Run `make docs`."


def test_every_feature_is_explained():
    """By its own name, or by that of its kind: `Zernike_n_m`, `Contrast`."""
    page = describe()
    for name, entry in FAMILIES.items():
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for family in families_of(entry):
            assert family.about, name
            for feature in family.features:
                kind = feature.split("_")[0] if not feature[0].isdigit() else "Feature `i`"
                assert kind in section, (name, feature)
