"""HTTP status and headers of requests that were not executed, by their error code."""

import orjson
import pytest

from db.author import Author
from db.errors import (
    BadInput,
    Forbidden,
    HeadwaterError,
    LimitExceeded,
    RateLimited,
    Timeout,
    TransactionConflict,
    Unauthenticated,
    Unavailable,
)
from db.tenancy import api_key
from graph_api.http.responses import error_response, status_of
from tests.builders import REGISTER, Api, product_fields


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Unauthenticated("who?"), 401, {"www-authenticate": "Bearer"}),
        (Forbidden("no"), 403, {}),
        (RateLimited("later"), 429, {}),
        (Unavailable("gone"), 503, {"retry-after": "1"}),
        (TransactionConflict("again"), 503, {"retry-after": "1"}),
        (Timeout("late"), 504, {}),
        (BadInput("what?"), 400, {}),
        (LimitExceeded("much"), 400, {}),
    ],
)
def test_an_error_response_has_the_status_and_headers_of_its_code(
    error: HeadwaterError, status: int, headers: dict[str, str]
) -> None:
    assert status_of([error.code], 400) == status
    response = error_response("r", status, error)
    assert {name: response.headers[name] for name in ("www-authenticate", "retry-after") if name in response.headers} == headers
    assert orjson.loads(response.body)["errors"] == [{"message": error.message, "extensions": {"code": error.code}}]


def test_the_first_code_with_a_status_determines_the_status() -> None:
    assert status_of(["BAD_INPUT", "FORBIDDEN", "TIMEOUT"], 200) == 403
    assert status_of([], 200) == 200


@pytest.mark.api
@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_missing_scopes_are_answered_403_for_each_media_type(api: Api, accept: str) -> None:
    async with api.database.transaction(1, Author("tester")) as connection:
        authenticator = api.client._transport.app.state.authenticator  # type: ignore[attr-defined]
        _, key = await api_key.create(connection, authenticator.key_signer, "reader", ["read"])
    answer = await api(REGISTER, headers={"accept": accept, "x-api-key": key}, input=product_fields())
    assert (answer.status, answer.code_and_field) == (403, ("FORBIDDEN", None))
