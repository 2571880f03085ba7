from __future__ import annotations

import os
import signal

import pytest

from segspec.train.signals import listen

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_asks_to_stop(number: int) -> None:
    with listen() as wishes:
        os.kill(os.getpid(), number)
        assert wishes.stop == number
        assert not wishes.snapshot


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_after_that_is_immediate(first: int) -> None:
    with listen() as wishes:
        os.kill(os.getpid(), first)
        assert wishes.stop == first
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_hangup_asks_for_a_snapshot_and_goes_on() -> None:
    with listen() as wishes:
        os.kill(os.getpid(), signal.SIGHUP)
        assert (wishes.snapshot, wishes.stop) == (True, 0)


def test_afterwards_signals_mean_what_they_meant() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with listen():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before
