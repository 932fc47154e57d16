"""Fixtures of the tests of the GraphQL API."""

import pytest

from tests.builders import Api


@pytest.fixture
def api(shared_api: Api) -> Api:
    return shared_api
