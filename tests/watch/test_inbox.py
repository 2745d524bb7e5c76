"""What one look through a plate finds, wherever links lead."""

import os
from pathlib import Path

import pytest

from plates.readers.folder import files_below
from profiler.watch.inbox import look


@pytest.fixture
def plate(tmp_path) -> Path:
    """A plate of two files whose images lie elsewhere, behind a link."""
    plate, elsewhere = tmp_path / "inbox" / "P1", tmp_path / "server" / "images" / "day 1"
    plate.mkdir(parents=True)
    elsewhere.mkdir(parents=True)
    (plate / "a.tif").write_bytes(b"aa")
    (elsewhere / "b.tif").write_bytes(b"bbb")
    (plate / "Images").symlink_to(elsewhere.parent)
    return plate


def test_linked_folders_are_followed(plate):
    before = look(plate)
    assert (before.files, before.bytes) == (2, 5)
    (plate / "Images" / "day 1" / "b.tif").write_bytes(b"bbbb")
    assert look(plate).bytes == 6
    (plate / "Images" / "day 1" / "c.tif").write_bytes(b"c")
    after = look(plate)
    assert (after.files, after.bytes) == (3, 7)
    assert after.folders_ns > before.folders_ns


def test_each_folder_is_counted_once_and_no_loop_is_endless(plate, tmp_path):
    before = look(plate)
    (plate / "again").symlink_to(tmp_path / "server" / "images")
    (plate / "Images" / "day 1" / "up").symlink_to("..")
    (plate / "whole inbox").symlink_to(tmp_path / "inbox")
    (plate / "itself").symlink_to("itself")
    (plate / "nowhere").symlink_to("gone")
    assert look(plate)[:2] == before[:2]
    read = [path for path in files_below(plate) if path.is_file()]
    assert before[:2] == (len(read), sum(path.stat().st_size for path in read))


def test_a_plate_that_is_a_link_is_walked_through(plate, tmp_path):
    link = tmp_path / "linked"
    link.symlink_to(plate)
    assert look(link)[:4] == look(plate)[:4]


def test_a_folder_goes_by_its_own_name_before_a_link_to_it(plate):
    (plate / "z").mkdir()
    (plate / "b").symlink_to("z")
    assert os.path.join(plate, "z") in look(plate).folders  # noqa: PTH118
