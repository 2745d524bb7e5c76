"""A watcher's records: how the one before ended is known until it was told."""

import json

from profiler.store.lock import LOCK
from profiler.watch.records import held_records


def test_how_a_watcher_before_ended_is_known_until_it_is_settled(tmp_path):
    who = {"pid": 7, "host": "night", "started": "2026-01-01"}
    (tmp_path / LOCK).write_text(json.dumps(who))
    for _ in range(2):  # one that dies before it could tell loses nothing
        with held_records(tmp_path) as records:
            assert [end.code for end in records.before] == ["killed"]
    with held_records(tmp_path) as records:
        records.settle()
    with held_records(tmp_path) as records:
        assert records.before == ()
