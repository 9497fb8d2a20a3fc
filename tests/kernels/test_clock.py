"""The clock of compiled code beside Python's."""

import time

import pytest
from numba.core import config as numba_config

from nbopt.kernels.clock import clock_address, seconds
from nbopt.kernels.compile import compiled


@compiled
def now(address):
    return seconds(address)


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_MONOTONIC") or numba_config.DISABLE_JIT,
    reason="no POSIX clock, or no compiled code",
)
def test_the_time_lies_between_two_looks_at_the_same_clock():
    address = clock_address()
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    found = now(address)
    assert before <= found <= time.clock_gettime(time.CLOCK_MONOTONIC) + 1e-6


def test_without_a_clock_of_posix_there_is_no_address(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_MONOTONIC", raising=False)
    assert clock_address() == 0
