"""A recipe: one TOML file that says how a plate becomes ranked hits.

One frozen model per stage; `load_recipe` reads a built-in one by name or a file by path.
What a recipe leaves out takes the defaults below, and `run.json` keeps the whole of it.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plates.errors import BadRecipe, lookup, suggestion

RECIPES = {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}

ILLUMINATION = ("none", "mean", "basic", "vendor")  # methods; any other is a folder
WEIGHTS = ".safetensors"  # how the names of networks' files end


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(_Model):
    """What is on the plate.

    Attributes:
        reader: A reader's name, or "auto".
        pattern: For the `pattern` reader: a built-in pattern's name or a regular expression.
        channels: Stain -> channel as the reader names it; the order is the order of features.
        projection: How z-stacks become planes; "focus" takes the sharpest.
        z: Take this plane of every stack alone.
        timepoint: Which one, where there are several; "each" takes all, each as a field.
    """

    reader: str = "auto"
    pattern: str | None = None
    channels: dict[str, str]
    projection: Literal["max", "mean", "focus", "none"] = "max"
    z: int | None = None
    timepoint: Annotated[int, Field(ge=1)] | Literal["each"] | None = None


class Illumination(_Model):
    """How uneven light is taken out before anything is segmented or measured.

    Attributes:
        method: "none"; "mean", CellProfiler's smoothed mean of many fields; "basic", BaSiC's
            flat and dark field; "vendor", the microscope's own profiles; or a folder of
            CellProfiler's .npy functions.
        sample: Fields of each plate that a function is fitted to.
        seed: Decides which.
        degree: Of the polynomial that smooths the mean.
        smoothness: Of BaSiC's fields: a factor on the weights of its authors.
        dark_field: Whether BaSiC looks for a dark field.
        dark_level: Grey level of the camera in the dark, if it is known; it is taken off.
    """

    method: str = "none"
    sample: int = Field(default=192, ge=8)
    seed: int = Field(default=0, ge=0)
    degree: int = Field(default=2, ge=1, le=8)
    smoothness: float = Field(default=1.0, gt=0)
    dark_field: bool = True
    dark_level: float = Field(default=0.0, ge=0)


class Segment(_Model):
    """How nuclei, cells and cytoplasm are found; pixels are the images' own.

    Attributes:
        model: Shipped network, or the path of a .safetensors file.
        diameter_px: How wide nuclei are, so that the network sees them at the size it knows; "auto"
            estimates it field by field; by default fields are left as they are.
        nuclei: Nuclear stain.
        cells: Stain that cells are seen in; by default the nuclear one.
        method: "propagation" over the cell stain, a "ring" around the nucleus, or the cells that
            a "network" sees in the cell and nuclear stains.
        cells_model: Shipped network of whole cells, or the path of a .safetensors file.
        ring_px: Beginning and end of the ring, measured from the nucleus.
        gap_px: Strip between nucleus and cytoplasm of cells that are not rings.
        threshold: How the cell stain is told from the background.
        correction: Factor on that threshold.
        regularisation: Of the propagation: small values follow the stain.
        min_nucleus_area_px: Smaller nuclei are specks.
        border: Whether cells whose nucleus touches the field's border are kept and
            flagged (`Metadata_QC_TouchesBorder`), or dropped.
        min_confidence: Probability of being right below which a cell's nucleus is dropped with its
            cell, and counted; 0 keeps all.
        max_cells: Most cells a field can hold; one with more becomes a coded row.
    """

    model: str = "nuclei"
    diameter_px: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    nuclei: str = "DNA"
    cells: str | None = None
    method: Literal["propagation", "ring", "network"] = "propagation"
    cells_model: str = "cells"
    ring_px: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0, le=127)]] = (
        1.5,
        6.0,
    )
    gap_px: float = Field(default=0.0, ge=0, le=127)
    threshold: Literal["minimum_cross_entropy", "otsu"] = "minimum_cross_entropy"
    correction: float = Field(default=1.0, gt=0)
    regularisation: float = Field(default=0.05, ge=0)
    min_nucleus_area_px: int = Field(default=25, ge=1)
    border: Literal["keep", "drop"] = "keep"
    min_confidence: float = Field(default=0.0, ge=0, lt=1)
    max_cells: int = Field(default=1024, ge=1, le=65_535)


class Measure(_Model):
    """Which features.

    Attributes:
        families: Names of built-in families, or "module:attribute" of your own; by default
            CellProfiler's whole set.
        channels: Stains to measure; all by default.
        options: Family -> its options, as [measure.options.Texture] scales = [3, 5, 10].
    """

    families: tuple[str, ...] = (
        "AreaShape",
        "Location",
        "Intensity",
        "Texture",
        "Granularity",
        "RadialDistribution",
        "RadialZernike",
        "Correlation",
        "Neighbors",
        "Relations",
        "ImageIntensity",
        "ImageQuality",
        "Threshold",
    )
    channels: tuple[str, ...] = ()
    options: dict[str, dict[str, Any]] = {}


class Embed(_Model):
    """Whether cells get vectors besides features.

    Attributes:
        model: Shipped encoder, or the path of a .safetensors file; none by default.
        channels: Stains that it sees, in this order; all by default.
        pixel_size_um: Of the images, for encoders whose crops are of a stated one; by default what
            the microscope says.
    """

    model: str | None = None
    channels: tuple[str, ...] = ()
    pixel_size_um: float | None = Field(default=None, gt=0)


class Quality(_Model):
    """Which fields are not to be believed, and which wells have too few cells.

    Attributes:
        checks: What is looked for.
        false_alarms: Share of good fields that each check may flag: the plate's own spread,
            by median and MAD, sets the threshold.
        saturated_percent: Pixels at the camera's limit from which a field is saturated.
        min_cells: Cells below which a well is flagged.
    """

    checks: tuple[Literal["empty", "saturation", "focus", "debris", "bubble", "staining"], ...] = (
        "empty", "saturation", "focus", "debris", "bubble", "staining",
    )  # fmt: skip
    false_alarms: float = Field(default=1e-3, gt=0, lt=0.5)
    saturated_percent: float = Field(default=0.5, gt=0, le=100)
    min_cells: int = Field(default=10, ge=0)


class Profile(_Model):
    """How cells become well profiles.

    Attributes:
        aggregate: What stands for a well's cells: a summary of `profiler.profile.aggregate`, or
            several, whose features end with its name, as Cells_AreaShape_Area_mad. One of them may
            be the .safetensors file of a learned aggregator, which gives `Embedding_Set_0000` and
            so on.
        features: Which columns of cells make profiles: names or patterns, as "Embedding_*"; all by
            default. A learned aggregator takes its own.
        blocks: What features and embeddings together count for where profiles are compared:
            "equal", each block as a whole the same; or "as_is", every column the same.
        exclude_border: Leave out cells whose nucleus touches the field's border.
        exclude_bad_fields: Leave out cells of fields that [quality] does not believe.
        steps: What is done to the wells, in order, as `profiler.profile.process` reads it:
            [[profile.steps]] step = "normalise" | "correct" | "select", with its options.
            `profiles.parquet` is what the steps before the first selection give,
            `selected.parquet` what all of them give.
        consensus: What stands for the replicates of a treatment.
    """

    aggregate: str | tuple[str, ...] = "median"
    features: tuple[str, ...] = ()
    blocks: Literal["equal", "as_is"] = "equal"
    exclude_border: bool = False
    exclude_bad_fields: bool = True
    steps: tuple[dict[str, Any], ...] = (
        {"step": "normalise", "method": "mad_robustize", "reference": "negative"},
        {
            "step": "select",
            "steps": ["drop_na_columns", "variance_threshold", "correlation_threshold"],
        },
    )
    consensus: Literal["median", "mean", "modz"] = "median"


class Hits(_Model):
    """How wells become hits.

    Attributes:
        readout: The feature that is the assay's answer, with the summary's name where
            [profile] aggregate has several; of several the first ranks, and all
            get dose-response curves. The best separating one by default.
        rank_by: Rank by the readout, or by how far the whole profile is from the controls.
        threshold: Robust z (or profile score) from which a well counts.
        toxic_below: Cells left, as a share of the negative controls', below which a well is toxic.
        timepoint: At which hits and phenotypes are called, where the run has several; the last
            by default.
    """

    readout: str | tuple[str, ...] | None = None
    rank_by: Literal["readout", "profile"] = "readout"
    threshold: float = Field(default=3.0, gt=0)
    toxic_below: float = Field(default=0.5, ge=0, le=1)
    timepoint: int | None = Field(default=None, ge=1)


class Phenotype(_Model):
    """How phenotypes are looked for among wells and cells.

    Attributes:
        clustering: How wells are clustered; their number is the largest that is stable.
        subpopulations: Whether kinds of cells are looked for, too.
        neighbours: How many of the treatments most like it are listed for each.
        labels: Kind of label -> its column of the plate map, as MOA = "Metadata_Mechanism"; by
            default the usual names of compound, MOA and target.
        seed: Decides all that is left to chance.
    """

    clustering: Literal["leiden", "kmeans", "hdbscan"] = "leiden"
    subpopulations: bool = True
    neighbours: int = Field(default=10, ge=1)
    labels: dict[str, str] | None = None
    seed: int = Field(default=0, ge=0)


class Recipe(_Model):
    """All stages of a run."""

    name: str
    description: str = ""
    images: Images
    illumination: Illumination = Illumination()
    segment: Segment = Segment()
    measure: Measure = Measure()
    embed: Embed = Embed()
    quality: Quality = Quality()
    profile: Profile = Profile()
    hits: Hits = Hits()
    phenotype: Phenotype = Phenotype()

    def cells_key(self) -> str:
        """Hash of every setting that the cells depend on, hexadecimal."""
        parts = self.model_dump(mode="json", include=set(CELL_SECTIONS))
        for name in ("model", "cells_model"):  # weights count, by their own hash, not their name
            del parts["segment"][name]
        if parts["embed"].pop("model") is None:
            del parts["embed"]
        if self.illumination.method not in ILLUMINATION:
            parts["illumination"]["method"] = "folder"  # likewise: its functions count
        return hashlib.blake2b(
            json.dumps(parts, sort_keys=True).encode(), digest_size=16
        ).hexdigest()


CELL_SECTIONS = ("images", "illumination", "segment", "measure", "embed")
AFTER_CELLS = ("quality", "profile", "hits", "phenotype")


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: A built-in recipe, or the path of a .toml file.

    Raises:
        UnknownName: No built-in recipe is called that, or a stain or setting is unknown.
        BadRecipe: The file is missing, not TOML, or a value is out of range.
    """
    path, table = read_table(name)
    recipe = parse_recipe({"name": path.stem} | table, where=str(path))
    return _with_own_functions(_with_own_models(recipe, path.parent), path.parent)


def read_table(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """Read a recipe's file as it is written, with the place that it was found at.

    Raises:
        UnknownName: No built-in recipe is called that.
        BadRecipe: The file is missing or not TOML.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = lookup(RECIPES, kind="recipe", name=str(name))
    try:
        return path, _with_own_aggregator(tomllib.loads(path.read_text()), path.parent)
    except OSError as error:
        raise BadRecipe(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} is not TOML: {error}.") from None


def _with_own_models(recipe: Recipe, home: Path) -> Recipe:
    """Look for a recipe's own weights beside the recipe, wherever it is run from."""

    def beside(name: str | None) -> str | None:
        if name is None or not name.endswith(".safetensors"):
            return name
        return str((home / name).resolve())

    segment, embed = recipe.segment, recipe.embed
    nuclei, cells = beside(segment.model), beside(segment.cells_model)
    found = {
        "segment": segment.model_copy(update={"model": nuclei, "cells_model": cells}),
        "embed": embed.model_copy(update={"model": beside(embed.model)}),
    }
    return recipe.model_copy(update=found)


def _with_own_aggregator(table: dict[str, Any], home: Path) -> dict[str, Any]:
    """Look for a learned aggregator beside the recipe that names it."""

    def beside(name: Any) -> Any:
        is_file = isinstance(name, str) and name.endswith(WEIGHTS)
        return str((home / name).resolve()) if is_file else name

    profile = table.get("profile", {})
    match profile:
        case {"aggregate": list(names)}:
            return table | {"profile": profile | {"aggregate": [beside(name) for name in names]}}
        case {"aggregate": name}:
            return table | {"profile": profile | {"aggregate": beside(name)}}
    return table


def _with_own_functions(recipe: Recipe, home: Path) -> Recipe:
    """Look for a folder of illumination functions beside the recipe, as for weights."""
    method = recipe.illumination.method
    if method in ILLUMINATION or not (home / method).is_dir():
        return recipe
    illumination = recipe.illumination.model_copy(update={"method": str(home / method)})
    return recipe.model_copy(update={"illumination": illumination})


def parse_recipe(table: dict[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a recipe's table.

    Raises:
        BadRecipe: A key is unknown, a value out of range, or a stain not in `[images] channels`.
    """
    try:
        recipe = Recipe(**table)
    except ValidationError as error:
        raise BadRecipe(f"{where}: " + "; ".join(map(_explain, error.errors()))) from None
    wanted = (recipe.segment.nuclei, recipe.segment.cells)
    wanted += (*recipe.measure.channels, *recipe.embed.channels)
    for stain in filter(None, wanted):
        lookup(recipe.images.channels, kind=f"stain in [images] channels of {where}", name=stain)
    seen = recipe.embed.channels
    if seen and recipe.embed.model is None:
        raise BadRecipe(f"{where}: [embed] channels are for an encoder; name one as [embed] model.")
    if len(set(seen)) < len(seen):
        raise BadRecipe(f"{where}: [embed] channels must be each named once; found {list(seen)}.")
    if recipe.segment.ring_px[0] >= recipe.segment.ring_px[1]:
        raise BadRecipe(f"{where}: [segment] ring_px must begin before it ends.")
    return recipe


def _explain(problem: Any) -> str:
    *parents, key = (str(part) for part in problem["loc"])
    place = f"[{'.'.join(parents)}] {key}" if parents else key
    if problem["type"] != "extra_forbidden":
        return f"{place}: {problem['msg']}, found {problem['input']!r}."
    model: Any = Recipe
    for part in parents:
        model = model.model_fields[part].annotation
    return f"{place} is not a setting. {suggestion(key, list(model.model_fields))}"
