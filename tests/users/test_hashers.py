"""Hashing has the smaller claim on the machine, and survives a fork."""

import multiprocessing
import os
import sys
import threading

import pytest

from payymo.users.hashers import NICENESS, Hashers
from payymo.users.passwords import Passwords


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id() if sys.platform == "linux" else 0)


def test_only_the_threads_that_hash_step_back() -> None:
    """The thread that waits for a hash has its own priority afterwards: it could not get it back."""
    before = _niceness()
    expected = min(19, before + NICENESS) if sys.platform == "linux" else before
    assert Hashers(1).run(_niceness) == expected
    assert _niceness() == before


def test_what_goes_wrong_with_a_hash_reaches_who_asked_for_it() -> None:
    """And the thread goes on."""
    hashers = Hashers(1)

    def fail() -> None:
        raise MemoryError("no room for a hash")

    with pytest.raises(MemoryError, match="no room for a hash"):
        hashers.run(fail)
    assert hashers.run(lambda: 5) == 5


def test_a_process_that_was_forked_off_hashes_with_threads_of_its_own() -> None:
    """A fork takes no threads along: a server that was loaded before its workers would wait for them for ever."""
    passwords = Passwords(parallel=1)
    stored = passwords.hash("a password of before")

    def verify() -> None:
        sys.exit(0 if passwords.verify("a password of before", stored) else 1)

    child = multiprocessing.get_context("fork").Process(target=verify)
    child.start()
    child.join(timeout=60)
    exit_code = child.exitcode
    child.kill()
    assert exit_code == 0
