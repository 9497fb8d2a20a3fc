"""Sends a test along every road of a step."""

import pytest
from roads import ROADS, take


@pytest.fixture(params=ROADS)
def road(request, monkeypatch):
    """Send every step along one of the ways that lead to the same numbers."""
    return take(request.param, monkeypatch)
