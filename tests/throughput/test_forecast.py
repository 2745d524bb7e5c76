"""What is foretold: by hand, and after files that say nothing."""

import json

import numpy as np
import pytest

from plates.loader import PixelFormat
from profiler.compute.prospect import Prospect
from profiler.events import FieldsDone, Forecast
from profiler.progress import _duration, _forecast
from profiler.throughput import forecast
from profiler.throughput.forecast import Pace, memory_bytes, peak_bytes, recall, remember


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_first_batch_waits_for_the_compiler_and_does_not_count():
    pace = Pace()
    told = []
    for at, fields in ((60.0, 2), (61.0, 2), (63.0, 4), (64.0, 1)):
        pace.add(at=at, fields=fields)
        told.append((pace.is_enough, pace.seconds_per_field))
    assert told == [(False, None), (False, None), (True, 0.5), (False, 4 / 7)]


def test_what_a_field_cost_is_remembered_for_its_kind_alone():
    assert recall("a") is None
    remember("a", 0.25)
    remember("b", 3.0)
    assert (recall("a"), recall("b"), recall("c")) == (0.25, 3.0, None)


def told(*batches: tuple[float, int, int]) -> tuple[Prospect, list[Forecast]]:
    """What batches that were done at a time, with so many fields, so many failed, let foresee."""
    prospect = Prospect("a recipe", PixelFormat(32, 32, np.dtype("uint16")), 2, 4, 40)
    events = [(at, FieldsDone(fields, failed, 9)) for at, fields, failed in batches]
    return prospect, [told for at, event in events for told in prospect.after([event], at=at)]


def test_fields_that_failed_do_not_make_the_others_look_cheap():
    prospect, (forecast,) = told((60.0, 4, 0), (61.0, 4, 2), (62.0, 4, 0), (63.0, 4, 0))
    assert forecast.seconds_per_field == pytest.approx(2 / 6)
    assert (forecast.fields, forecast.is_measured) == (28, True)
    prospect.keep()
    assert prospect.before().seconds_per_field == pytest.approx(3 / 10)


def test_a_batch_that_failed_does_not_stand_for_the_one_that_compiles():
    _, (forecast,) = told((1.0, 4, 4), (60.0, 4, 0), (61.0, 4, 0), (62.0, 4, 4), (63.0, 4, 0))
    assert forecast.seconds_per_field == pytest.approx(3 / 8)


def test_where_all_fields_failed_nothing_is_foretold_or_remembered():
    prospect, forecasts = told(*((float(at), 4, 4) for at in range(1, 9)))
    assert forecasts == []
    prospect.keep()
    assert prospect.before().seconds_per_field is None


@pytest.mark.parametrize("text", ["", "[]", '{"a": "x"}', '{"a": NaN}', "{"])
def test_a_damaged_memory_is_no_memory(text):
    remember("a", 1.0)
    forecast._path().write_text(text)
    assert recall("a") is None
    remember("a", 2.0)
    assert json.loads(forecast._path().read_text())["a"] == 2.0


def test_where_nothing_can_be_kept_nothing_is(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("a", 1.0)
    assert recall("a") is None


def test_memory_grows_with_the_batch_and_not_with_the_plate():
    plane = 1080 * 1080
    one, eight = (
        memory_bytes(field_bytes=10 * plane, pixels=plane, size=size, is_cpu=False)
        for size in (1, 8)
    )
    assert eight - one == 7 * forecast.BATCHES_IN_FLIGHT * 10 * plane
    assert one > peak_bytes() > 1e7


def test_what_the_terminal_says():
    before = Forecast(3456, None, False, 2_000_000_000, 0, 40_000_000_000)
    assert _forecast(before) == (
        "About 2.0 GB of memory, 40 GB of pixels to read; the time is known after the first fields."
    )
    after = Forecast(3400, 0.087, True, 2_000_000_000, 45_000_000_000, 40_000_000_000)
    assert _forecast(after) == (
        "About 5 min for 3400 fields (0.087 s each, as the first of them took), 2.0 GB of memory "
        "and 45.0 GB of each device's, 40 GB of pixels to read."
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(12.4, "12 s"), (90.0, "2 min"), (7e3, "117 min"), (7.3e3, "2 h 2 min")]
)
def test_durations(seconds, said):
    assert _duration(seconds) == said
