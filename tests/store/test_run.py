"""A run goes on in its own folder, and in no other's."""

import json
from dataclasses import replace

import pytest

from plates.errors import BadRun
from profiler.store.lock import locked
from profiler.store.run import FACTS, check, claim, discard, read_facts, write_facts
from profiler.store.tables import write_table
from profiler.store.wells import write_well


def test_facts_come_back(tmp_path, make_facts):
    facts = replace(make_facts(), summary={"wells": 96, "zprime": 0.81, "unused": None})
    written = write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == written
    assert replace(written, updated="") == facts
    assert written.updated.endswith("+00:00")


def test_file_is_for_people_too(tmp_path, make_facts):
    write_facts(tmp_path, make_facts())
    raw = json.loads((tmp_path / FACTS).read_text())
    assert raw["recipe"] == "translocation"
    assert raw["settings"]["segment"]["min_area"] == 25
    assert raw["store_version"] == "2"


@pytest.mark.parametrize("prepare", ["absent", "empty", "locked", "killed at once"])
def test_new_folder_is_claimed(tmp_path, make_facts, prepare):
    out = tmp_path / "out"
    if prepare != "absent":
        out.mkdir()
    if prepare == "killed at once":
        (out / f".{FACTS}.123.unfinished").touch()
    assert check(out, recipe="translocation") is None
    if prepare == "locked":
        with locked(out):
            claimed = claim(out, facts=make_facts())
    else:
        claimed = claim(out, facts=make_facts())
    assert claimed == read_facts(out)
    assert claimed.created


def test_check_touches_nothing(tmp_path):
    check(tmp_path / "out", recipe="translocation")
    assert list(tmp_path.iterdir()) == []


def test_same_recipe_with_other_settings_goes_on(tmp_path, make_facts):
    claim(tmp_path, facts=make_facts())
    old = replace(read_facts(tmp_path), created="2020-01-01T00:00:00+00:00")
    write_facts(tmp_path, old)
    again = claim(tmp_path, facts=make_facts(min_area=30))
    assert again.created == old.created
    assert again.settings["segment"]["min_area"] == 30
    assert again.updated > again.created


def test_other_recipe_is_refused(tmp_path, make_facts):
    claim(tmp_path, facts=make_facts())
    before = (tmp_path / FACTS).read_bytes()
    message = "made by recipe 'translocation', not 'painting'. Choose another --out, or .*--replace"
    with pytest.raises(BadRun, match=message):
        claim(tmp_path, facts=make_facts("painting"))
    assert (tmp_path / FACTS).read_bytes() == before


def test_other_version_is_refused(tmp_path, make_facts):
    write_facts(tmp_path, replace(make_facts(), store_version="0"))
    with pytest.raises(BadRun, match="store version 0, and this program reads version 2"):
        claim(tmp_path, facts=make_facts())


def test_folder_of_something_else_is_refused(tmp_path, make_facts):
    for name in ("a.tif", "b.tif", "c.tif", "d.tif"):
        (tmp_path / name).touch()
    message = r"not empty and is not a run folder: it holds a\.tif, b\.tif, c\.tif and 1 more"
    with pytest.raises(BadRun, match=message):
        claim(tmp_path, facts=make_facts())
    assert not (tmp_path / FACTS).exists()


def test_file_is_refused(tmp_path, make_facts):
    (tmp_path / "out").touch()
    with pytest.raises(BadRun, match="is a file, not a folder"):
        claim(tmp_path / "out", facts=make_facts())


def test_no_run_folder(tmp_path):
    with pytest.raises(BadRun, match=r"is not a run folder: it has no run\.json"):
        read_facts(tmp_path / "absent")


@pytest.mark.parametrize("keep", [0, 100])
def test_cut_short_facts_are_refused(tmp_path, make_facts, keep):
    write_facts(tmp_path, make_facts())
    (tmp_path / FACTS).write_text((tmp_path / FACTS).read_text()[:keep])
    with pytest.raises(BadRun, match=r"run\.json cannot be read"):
        read_facts(tmp_path)


@pytest.mark.parametrize(("content", "more"), [("[]", 8), ('{"recipe": "x"}', 7)])
def test_strange_facts_are_refused(tmp_path, content, more):
    (tmp_path / FACTS).write_text(content)
    message = rf"edited or is of another program: created, device, layout and {more} more missing"
    with pytest.raises(BadRun, match=message):
        read_facts(tmp_path)


def test_a_run_from_before_encoders_is_read_as_one_without(tmp_path, make_facts):
    claim(tmp_path, facts=make_facts())
    path = tmp_path / FACTS
    said = json.loads(path.read_text())
    assert said.pop("embedder", "absent") is None
    path.write_text(json.dumps(said))
    assert read_facts(tmp_path).embedder is None


def test_a_run_from_before_pixel_sizes_were_kept_is_read_as_one_without(tmp_path, make_facts):
    claim(tmp_path, facts=replace(make_facts(), pixel_sizes={"P1": 0.65}))
    assert read_facts(tmp_path).pixel_sizes == {"P1": 0.65}
    path = tmp_path / FACTS
    said = json.loads(path.read_text())
    del said["pixel_sizes"]
    path.write_text(json.dumps(said))
    assert read_facts(tmp_path).pixel_sizes == {}


def test_discard_leaves_an_empty_folder(tmp_path, make_facts, make_well):
    claim(tmp_path, facts=make_facts())
    write_well(tmp_path, make_well(), computed_by="c1")
    tables = make_well()
    write_table(tmp_path / "fields.parquet", tables.fields, level="fields", parameters={})
    (tmp_path / "report.html").touch()
    (tmp_path / "thumbnails").mkdir()
    discard(tmp_path)
    assert list(tmp_path.iterdir()) == []
    claim(tmp_path, facts=make_facts("painting"))


def test_discard_spares_what_no_run_made(tmp_path, make_facts):
    claim(tmp_path, facts=make_facts())
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadRun, match=r"holds notes\.txt, which no run makes.*nothing was removed"):
        discard(tmp_path)
    assert (tmp_path / FACTS).exists()


def test_discard_spares_other_folders(tmp_path):
    (tmp_path / "cells").mkdir()
    with pytest.raises(BadRun, match=r"not a run folder: it has no run\.json; nothing was removed"):
        discard(tmp_path)
    assert (tmp_path / "cells").is_dir()


def test_discard_that_fails_says_so(tmp_path, make_facts, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    claim(tmp_path, facts=make_facts())
    (tmp_path / "cells").mkdir()
    monkeypatch.setattr("profiler.store.run.shutil.rmtree", refuse)
    with pytest.raises(BadRun, match=r"cells could not be removed \(Permission denied\)"):
        discard(tmp_path)
    assert (tmp_path / FACTS).exists()
