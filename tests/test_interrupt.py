"""A signal is heard: raised, dropped by Python, disguised as an error, or while sleeping."""

import gc
import os
import signal
import sys
import threading
import time

import pytest

from profiler.interrupt import heeding, stop_signals


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_ends_the_events_and_closes_their_source():
    closed = []

    def events():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    seen = []

    def watch(sign):
        for event in heeding(events(), sign):
            seen.append(event)
            if event == 3:
                interrupt()

    with stop_signals(at_once=False) as sign, pytest.raises(KeyboardInterrupt):
        watch(sign)
    assert seen == [0, 1, 2, 3]
    assert closed == [True]


def test_an_interrupt_that_python_drops_is_heard_all_the_same(monkeypatch):
    """In a callback of the garbage collector, as JAX has one, an exception goes nowhere."""
    dropped, seen = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: dropped.append(lost.exc_type))

    def callback(phase, _):
        if phase == "start" and not dropped:
            signal.raise_signal(signal.SIGINT)

    def events():
        seen.append("before")
        yield
        gc.callbacks.append(callback)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(callback)
        seen.append("after")
        yield
        seen.append("too late")

    with stop_signals(at_once=True) as sign, pytest.raises(KeyboardInterrupt):
        list(heeding(events(), sign))
    assert dropped == [KeyboardInterrupt]
    assert seen == ["before", "after"]


def test_an_error_that_follows_a_signal_is_the_interrupt():
    def events():
        yield 1
        raise RuntimeError("INTERNAL: a callback failed")

    with stop_signals(at_once=False) as sign:
        stream = heeding(events(), sign)
        next(stream)
        sign.set(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        assert sign.exit_code == 143


def test_an_error_without_a_signal_stays_what_it_is():
    def events():
        yield 1
        raise RuntimeError("our own")

    with stop_signals(at_once=False) as sign, pytest.raises(RuntimeError, match="our own"):
        list(heeding(events(), sign))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_sleep_ends_when_a_signal_comes(number, code):
    with stop_signals(at_once=False) as sign:
        threading.Timer(0.1, interrupt, [number]).start()
        start = time.monotonic()
        sign.sleep(30.0)
        assert time.monotonic() - start < 30
        assert sign.exit_code == code


def test_the_second_signal_does_not_wait():
    with stop_signals(at_once=False) as sign:
        interrupt()
        assert sign.is_set()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals(at_once=True):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
