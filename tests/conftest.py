from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import canaries

# A loaded machine is not a fault of the code: how long a thing may take is measured in bench/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test fails whose daemon let out a secret, or a word of a subscriber, that the test had handed to it."""
    report = yield
    if report.when == "teardown":
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        seen = canaries.leaks(report.sections, folder if isinstance(folder, Path) else None)
        if seen and report.passed:
            report.outcome = "failed"
            report.longrepr = "\n".join(["What was told in confidence was seen:", *seen])
    return report


@pytest.fixture(params=["door", "aiohttp"])
def both_lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of the whole daemon: once as it is, once without its door. Where only the gateway runs, see flows/conftest."""
    monkeypatch.setattr("tests.flows.daemon_bench.FAST_LANE", request.param == "door")
