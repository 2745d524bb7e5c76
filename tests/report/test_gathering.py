"""What the page is made of, before it is laid out."""

import base64
import io
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from profiler.report import write_report
from profiler.report.columns import page_columns
from profiler.report.run import read_run
from profiler.report.sections.doses import all_series, control_bands, curve_section
from profiler.report.sections.facts import fact_groups, written
from profiler.report.sections.gallery import embedded, gallery
from profiler.report.sections.maps import map_section, on_page
from profiler.report.sections.quality import quality, sparse_wells, statistics_table
from profiler.report.sections.ranking import compound_table, hit_table
from profiler.report.sections.verdict import tiles, verdict
from profiler.report.wells import treatment, well_table
from profiler.store.incidents import Incident, note
from profiler.store.tables import scan_table

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"


def table(run, name):
    return scan_table(run / f"{name}.parquet").collect()


def one(wells, well):
    return wells.filter(well=well).row(0, named=True)


def well_rows(**columns):
    """A well table by hand, null where not given."""
    schema = well_table_schema()
    height = len(next(iter(columns.values())))
    given = {
        name: pl.Series(name, columns.get(name, [None] * height), schema[name]) for name in schema
    }
    return pl.DataFrame(given)


def well_table_schema():
    text = dict.fromkeys(("plate", "well", "compound", "role", "unit", "status"), pl.String)
    numbers = ("concentration", "fields", "cells", "z", "score", "rank", "readout", "response")
    return {**text, **dict.fromkeys(numbers, pl.Float64), "is_hit": pl.Boolean}


# The run


def test_other_features_are_not_read(fake_run):
    columns = read_run(fake_run).tables["wells"].columns
    assert READOUT in columns
    assert "Cells_AreaShape_Area" not in columns


def test_readout_is_looked_for_in_turn(run_copy, rewrite):
    hits = table(run_copy, "hits")
    rewrite(run_copy, "hits", hits.with_columns(readout=pl.lit("of the column")))
    assert read_run(run_copy).readout == "of the column"
    rewrite(run_copy, "hits", hits)
    (run_copy / "run.json").write_text('{"summary": {"readout": "of run.json"}}')
    assert read_run(run_copy).readout == "of run.json"
    (run_copy / "run.json").unlink()
    assert read_run(run_copy).readout == READOUT  # the curves'
    (run_copy / "curves.parquet").unlink()
    best = table(run_copy, "statistics").with_columns(z_prime=pl.Series([0.1, 0.9, None]))
    rewrite(run_copy, "statistics", best)
    assert read_run(run_copy).readout == "Cells_AreaShape_Area"
    (run_copy / "statistics.parquet").unlink()
    assert read_run(run_copy).readout is None


# Wells


def test_well_table_holds_every_well_once(fake_run):
    wells = well_table(read_run(fake_run))
    assert wells.height == 96
    first = one(wells, "A02")
    assert (first["compound"], first["unit"], first["role"]) == ("wortmannin", "µM", "treatment")
    truth = table(fake_run, "wells").filter(Metadata_Well="A02").row(0, named=True)
    assert first["cells"] == truth["Metadata_Object_Count"]
    assert first["readout"] == pytest.approx(truth[READOUT])
    assert first["z"] == pytest.approx((truth[READOUT] - 0.8) / 0.06)


def test_failed_well_has_no_count(fake_run):
    wells = well_table(read_run(fake_run))
    assert one(wells, "C05")["cells"] is None
    assert one(wells, "D09")["cells"] == 0


def test_fields_alone_tell_counts_and_failures(run_copy):
    for name in ("wells", "hits"):
        (run_copy / f"{name}.parquet").unlink()
    wells = well_table(read_run(run_copy))
    counts = table(run_copy, "fields").filter(Metadata_Well="B02")["Metadata_Object_Count"]
    assert wells.height == 95  # F07 was not imaged
    assert one(wells, "B02")["cells"] == counts.sum()
    assert [one(wells, w)["status"] for w in ("B02", "C05", "D09")] == ["ok", "failed", "no_cells"]


def test_profiles_stand_in_for_z_scores(run_copy, rewrite):
    rewrite(run_copy, "profiles", table(run_copy, "wells").with_columns(pl.lit(4.5).alias(READOUT)))
    (run_copy / "hits.parquet").unlink()
    run = read_run(run_copy)
    assert run.readout == READOUT
    assert one(well_table(run), "A02")["z"] == 4.5


def test_treatment_in_words():
    well = {"compound": None, "concentration": None, "unit": None, "role": "negative"}
    assert treatment(well) == "negative"
    assert treatment({**well, "role": None}) == ""
    assert treatment({**well, "compound": "DMSO", "concentration": 0.0}) == "DMSO"


# Curves


def test_series_hold_the_treated_wells_of_each_compound(fake_run):
    run = read_run(fake_run)
    series = all_series(run, well_table(run))["LY294002"]
    doses = sorted(dose.concentration for dose in series.doses)
    assert doses == pytest.approx([10 / 3**k for k in range(9, -1, -1)])
    assert series.curve.ec50 == 5.0
    assert series.unit == "µM"


def test_a_compound_that_is_also_a_control_is_drawn_by_its_treated_wells(run_copy, rewrite):
    wells = table(run_copy, "wells")
    is_control = pl.col("Metadata_Role") == "positive"
    also = wells.with_columns(
        pl.when(is_control).then(pl.lit("BEZ235")).otherwise("Metadata_Compound").alias("Metadata_Compound"),
        pl.when(is_control).then(5.0).otherwise("Metadata_Concentration").alias("Metadata_Concentration"),
    )  # fmt: skip
    rewrite(run_copy, "wells", also)
    run = read_run(run_copy)
    assert len(all_series(run, well_table(run))["BEZ235"].doses) == 10


def test_curves_are_in_order_of_rank_and_counted(fake_run):
    run = read_run(fake_run)
    wells = well_table(run)
    series = all_series(run, wells)
    section = curve_section(run, wells, series, order=["caffeine", "PI-103"])
    assert [card.compound for card in section.cards][:2] == ["caffeine", "PI-103"]
    many = {str(i): series["PI-103"]._replace(compound=str(i)) for i in range(30)}
    section = curve_section(run, wells, many, order=[])
    assert len(section.cards) == 24
    assert section.remark == "6 more curves are not shown here; all 30 are in curves.parquet."


def test_bands_are_the_middle_of_the_controls():
    wells = well_rows(role=["negative"] * 11 + ["positive"], response=[*range(11), None])
    (band,) = control_bands(wells)
    assert band == ("negative", 1.0, 5.0, 9.0)


# Ranking


def test_compounds_are_in_order_with_their_numbers(fake_run):
    compounds = table(fake_run, "compounds").sample(fraction=1, shuffle=True, seed=1)
    laid_out = compound_table(compounds, series={})
    assert [row[0].text for row in laid_out.rows] == [str(rank) for rank in range(1, 9)]
    best = laid_out.rows[0]
    assert (best[3].text, best[3].note, best[3].sort) == ("0.012 µM", "0.0096 to 0.0156", 0.012)
    assert (best[6].text, best[7].text) == ("6 of 10", "↑ up")
    assert laid_out.rows[-1][3].note == "no response"


def test_compounds_past_the_cap_are_counted():
    compounds = pl.DataFrame(
        {"Metadata_Compound": [f"c{i}" for i in range(250)], "rank": range(250)}
    )
    laid_out = compound_table(compounds, series={})
    assert len(laid_out.rows) == 200
    assert laid_out.remark.startswith("50 more compounds are not shown here")


def test_wells_are_ranked_with_unranked_ones_last(fake_run):
    hits = table(fake_run, "hits").with_columns(rank=pl.when(pl.col("rank") > 1).then("rank"))
    laid_out = hit_table(hits)
    assert len(laid_out.rows) == 96
    assert [row[0].text for row in laid_out.rows][::95] == ["2", "–"]
    assert laid_out.rows[0][7].text.endswith(" %")


# Statistics and quality


def test_statistics_put_the_readout_first_and_no_position_after_it(fake_run):
    statistics = table(fake_run, "statistics")
    position = statistics.tail(1).with_columns(
        readout=pl.lit("Nuclei_Location_Center_X"), z_prime=pl.lit(0.99)
    )
    more = [
        statistics.tail(1).with_columns(readout=pl.lit(f"Cells_F{i}"), z_prime=pl.lit(i / 10))
        for i in range(7)
    ]
    laid_out = statistics_table(pl.concat([position, *more, statistics]), readout=READOUT)
    names = [row[1].text.replace("<wbr>", "") for row in laid_out.rows]
    assert names[0].startswith(READOUT)
    assert names[1:] == ["Cells_F6", "Cells_F5", "Cells_F4", "Cells_F3", "Cells_F2"]
    assert laid_out.rows[0][4].text == "0.811"
    assert laid_out.rows[0][-1].text == "5 %"


def test_sparse_wells_are_judged_by_their_own_plates_controls():
    wells = well_rows(
        plate=["P", "P", "P", "P", "Q", "Q", "Q"],
        well=["A01", "A02", "A03", "A04", "A01", "A02", "A03"],
        role=["negative", "negative", "treatment", "treatment", None, None, None],
        cells=[100, 120, 54, 56, 10, 10, 4],
    )
    few = sparse_wells(wells)
    assert few.select("plate", "well").rows() == [("Q", "A03"), ("P", "A03")]
    assert few["share"].to_list() == pytest.approx([0.4, 54 / 110])


def test_a_lost_field_does_not_make_a_well_sparse():
    wells = well_rows(
        plate=["P"] * 3, role=["negative"] * 2 + [None], cells=[100, 100, 45], fields=[2, 2, 1]
    )
    assert sparse_wells(wells).height == 0


def test_wells_of_a_plate_without_any_cells_are_not_sparse():
    assert sparse_wells(well_rows(plate=["P", "P"], cells=[0, 0])).height == 0


def test_what_befell_the_run_is_laid_out_as_it_came(run_copy, fake_run):
    run = read_run(run_copy)
    assert quality(run, well_table(run)).incidents is None
    time = "2026-03-02T01:14:09+00:00"
    lost = Incident(time, "worker_lost", "A <node> went.", wells=2, fields=3)
    note(run_copy, lost, Incident(time, "killed", "Process 7 was killed."))
    run = read_run(run_copy)
    laid_out = quality(run, well_table(run)).incidents
    assert [[cell.text for cell in row] for row in laid_out.rows] == [
        [
            "2026-03-02 01:14:09",
            '<span class="pill toxic">worker lost</span>',
            "2",
            "A <node> went.",
        ],
        [
            "2026-03-02 01:14:09",
            '<span class="pill toxic">killed</span>',
            "–",
            "Process 7 was killed.",
        ],
    ]
    assert "A &lt;node&gt; went." in write_report(run_copy).read_text()


# The head


def test_verdict_counts_compounds_not_controls(run_copy, rewrite):
    compounds = table(run_copy, "compounds")
    control = compounds.head(1).with_columns(Metadata_Role=pl.lit("positive"))
    rewrite(run_copy, "compounds", pl.concat([compounds, control]))
    run = read_run(run_copy)
    assert verdict(run, well_table(run)).startswith("6 hits among 8 compounds; ")


def test_verdict_gives_the_range_over_plates(run_copy, rewrite):
    statistics = table(run_copy, "statistics").head(1)
    plates = [statistics.with_columns(z_prime=pl.lit(z)) for z in (0.62, 0.85, None)]
    rewrite(run_copy, "statistics", pl.concat(plates, how="vertical_relaxed"))
    run = read_run(run_copy)
    assert "; Z′ 0.62 to 0.85; " in verdict(run, well_table(run))


def test_verdict_without_compounds_counts_wells(run_copy):
    (run_copy / "compounds.parquet").unlink()
    run = read_run(run_copy)
    assert verdict(run, well_table(run)).startswith("31 hit wells; ")


def test_controls_that_work_are_no_hits(run_copy, rewrite):
    (run_copy / "compounds.parquet").unlink()
    hits = table(run_copy, "hits")
    strong = pl.col("is_hit") | (pl.col("Metadata_Role") == "positive")
    rewrite(run_copy, "hits", hits.with_columns(is_hit=strong))
    run = read_run(run_copy)
    wells = well_table(run)
    assert verdict(run, wells).startswith("31 hit wells; ")
    shown = on_page(wells, plates=["P1"], points=[False] * wells.height)
    section = map_section(shown, page_columns(run, shown), montages={})
    framed = str(section.plates[0].maps[0].svg).count('class="well hit"')
    assert framed == 31


def test_tiles_leave_out_what_is_unknown(run_copy):
    for name in ("hits", "statistics", "fields"):
        (run_copy / f"{name}.parquet").unlink()
    run = read_run(run_copy)
    assert [tile.label for tile in tiles(run, well_table(run))] == ["wells measured", "cells"]


# Pictures


def test_gallery_takes_controls_then_hits_by_rank(fake_run):
    run = read_run(fake_run)
    negative, positive, hits = gallery(run, well_table(run)).groups
    assert [p.well for p in negative.pictures] == ["A01", "B01"]
    assert {p.treatment for p in positive.pictures} == {"positive"}
    scores = [float(p.figures.split()[1]) for p in hits.pictures]
    assert scores == sorted(scores, reverse=True)


def test_gallery_is_capped_and_says_so(run_copy):
    folder = run_copy / "thumbnails" / "P1"
    wells = well_table(read_run(run_copy)).with_columns(is_hit=pl.lit(value=True))
    for name in wells["well"]:
        if not (folder / f"{name}.png").exists():
            shutil.copy(folder / "A01.png", folder / f"{name}.png")
    shown = gallery(read_run(run_copy), wells)
    assert [len(group.pictures) for group in shown.groups] == [6, 6, 36]
    assert (
        shown.remark == "48 more pictures are not shown here; all 96 are in the thumbnails folder."
    )


def test_controls_are_taken_from_every_plate(two_plates):
    for source in (two_plates / "thumbnails" / "P1").glob("?01.png"):
        target = two_plates / "thumbnails" / "P<2>" / source.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    run = read_run(two_plates)
    negative = gallery(run, well_table(run)).groups[0]
    assert [p.well for p in negative.pictures[:3]] == ["P1 A01", "P<2> A01", "P1 B01"]


def test_embedded_picture_is_the_picture():
    ramp = np.zeros((40, 60, 3), np.uint8)
    ramp[..., 1] = np.linspace(0, 255, 60)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, format="PNG")
    head, _, body = embedded(out.getvalue()).partition(",")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))
    assert head == "data:image/jpeg;base64"
    assert np.abs(picture.astype(int) - ramp).max() <= 8


def test_large_picture_is_shrunk():
    out = io.BytesIO()
    Image.new("RGB", (3000, 1500)).save(out, format="PNG")
    body = embedded(out.getvalue()).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (320, 160)


@pytest.mark.parametrize("spoilt", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 20])
def test_spoilt_picture_is_left_out(spoilt):
    assert embedded(spoilt) == ""


def test_picture_cut_short_is_left_out(fake_run):
    whole = (fake_run / "thumbnails" / "P1" / "A01.png").read_bytes()
    assert embedded(whole[: len(whole) // 2]) == ""


# Facts


def test_facts_are_grouped_and_nested_names_joined():
    general, recipe = fact_groups(
        {"device": "cpu", "recipe": {"a": {"max_cells": 5}, "b": {}}, "empty": {}, "n": 2}
    )
    assert general == ("run", [("device", "cpu"), ("n", "2")])
    assert recipe == ("recipe", [("a › max cells", "5"), ("b", "")])


def test_long_values_are_cut():
    assert written(list(range(30))).endswith("22, 23 and 6 more")
    assert len(written("x" * 1000)) == 400
    assert written([{"name": "P1", "wells": 96}]) == "name: P1; wells: 96"


def test_over_several_plates_points_are_on_the_scale_of_their_curves(run_copy, rewrite):
    curves = table(run_copy, "curves").with_columns(scale=pl.lit("robust_z"))
    rewrite(run_copy, "curves", curves)
    wells = well_table(read_run(run_copy))
    assert wells["response"].to_list() == wells["z"].to_list() != wells["readout"].to_list()
