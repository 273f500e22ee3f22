"""What all end-to-end tests share."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "bench"), str(HERE.parent / "lib")]

from lib import BINARY  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds by its nature")
    config.addinivalue_line("markers", "asan: worth running against the sanitized program too")


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker is left with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_sessionstart(session):
    if not BINARY.is_file():
        pytest.exit(
            f"there is no program {BINARY}: run ./dev build, or set POSTERN_BINARY", returncode=4
        )


@pytest.fixture
def root():
    """For what only root can do. A test is never left out silently: without root it fails."""
    if os.geteuid() != 0:
        pytest.fail("this test makes network or mount namespaces: run it as root")


@pytest.fixture
def tool():
    """Finds a program from Debian's packages."""

    def find(name: str) -> str:
        path = shutil.which(name)
        assert path, f"{name} is not installed: run ./dev setup"
        return path

    return find
