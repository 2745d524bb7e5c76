"""Work in a thread: same items, same order, errors where they belong, threads that end."""

import threading
import time

import pytest

from profiler.throughput.ahead import THREAD_NAME, ahead, behind


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if THREAD_NAME in thread.name]


@pytest.mark.parametrize("most", [1, 3, 10])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_same_items_in_the_same_order(count, most):
    assert list(ahead(range(count), most=most)) == list(range(count))
    assert list(behind(range(count), lambda x: x * x, most=most)) == [x * x for x in range(count)]
    assert not threads()


def test_the_next_item_is_made_while_this_one_is_used():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    drawn = ahead(items())
    assert next(drawn) == 1
    assert made.wait(5)
    assert list(drawn) == [2]


def test_no_more_are_drawn_than_may_wait():
    drawn, third = [], threading.Event()

    def items():
        for number in range(10):
            drawn.append(number)
            if number == 2:
                third.set()
            yield number

    ready = ahead(items(), most=2)
    assert next(ready) == 0
    assert third.wait(30)
    time.sleep(0.05)
    assert drawn == [0, 1, 2]
    ready.close()
    assert not threads()


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield 1
        raise OSError("no such plate")

    drawn = ahead(items(), most=3)
    assert next(drawn) == 1
    with pytest.raises(OSError, match="no such plate"):
        next(drawn)
    assert not threads()


def test_closing_closes_what_was_drawn_from():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    drawn = ahead(items())
    next(drawn)
    drawn.close()
    assert closed == [True]


def test_items_are_made_while_others_are_finished_and_no_more_than_may_wait():
    made, gate = [], threading.Event()

    def items():
        for number in range(6):
            made.append(number)
            yield number

    def finish(number):
        assert gate.wait(5)
        return number

    finished = behind(items(), finish, most=2)
    threading.Timer(0.2, gate.set).start()
    assert next(finished) == 0
    assert made[:3] == [0, 1, 2]
    assert list(finished) == [1, 2, 3, 4, 5]


def test_an_error_of_finishing_is_raised_and_what_follows_is_not_finished():
    done = []

    def finish(number):
        if number == 2:
            raise OSError("disk full")
        done.append(number)

    with pytest.raises(OSError, match="disk full"):
        list(behind(range(50), finish))
    assert done[:2] == [0, 1]
    assert len(done) < 8  # those that were waiting at most
    assert not threads()


def test_closing_early_finishes_the_item_at_hand_alone():
    done, gate = [], threading.Event()

    def finish(number):
        if number:
            gate.wait(5)
        done.append(number)

    finished = behind(range(50), finish, most=5)
    next(finished)
    gate.set()
    finished.close()
    assert done == list(range(len(done)))
    assert len(done) < 9
    assert not threads()
