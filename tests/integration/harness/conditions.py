"""Waiting for conditions, and what a machine has to offer."""

import os
import time

import pytest

POLL_SECONDS = 0.02
ON_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def eventually(condition, what, timeout=20.0):
    """Polls `condition` until it returns something true, and returns that; fails after `timeout` seconds.

    A condition that raises AssertionError counts as not true yet; the last one is shown at the failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        problem = None
        try:
            value = condition()
            if value:
                return value
        except AssertionError as error:
            problem = error
        if time.monotonic() >= deadline:
            pytest.fail(f"not within {timeout:g} s: {what}" + (f"\n{problem}" if problem else ""))
        time.sleep(POLL_SECONDS)


def always(condition, what, seconds):
    """Checks `condition` again and again for `seconds`: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what}"
        time.sleep(POLL_SECONDS)


def cannot_run(reason):
    """Skips the test; on CI, where everything has to run, fails it."""
    if ON_CI:
        pytest.fail(f"can't run, and CI=true: {reason}")
    pytest.skip(reason)
