"""What HTTP calls a request that was not run, by the code of why."""

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
def test_a_error_response_has_the_status_of_its_code_and_tells_how_to_go_on(
    error: HeadwaterError, status: int, headers: dict[str, str]
) -> None:
    assert status_of([error.code], 400) == status
    response = error_response({"state": {"request_id": "r"}}, status, error)
    assert {name: response.headers[name] for name in ("www-authenticate", "retry-after") if name in response.headers} == headers
    assert orjson.loads(response.body)["errors"] == [{"message": error.message, "extensions": {"code": error.code}}]


def test_of_several_errors_the_first_that_has_a_status_gives_it() -> None:
    assert status_of(["BAD_INPUT", "FORBIDDEN", "TIMEOUT"], 200) == 403
    assert status_of([], 200) == 200


@pytest.mark.api
@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
async def test_what_the_credentials_do_not_allow_is_403_whatever_is_accepted(api: Api, accept: str) -> None:
    async with api.database.transaction(1, Author("tester")) as connection:
        door = api.client._transport.app.state.authenticator  # type: ignore[attr-defined]
        _, key = await api_key.create(connection, door.key_signer, "reader", ["read"])
    answer = await api(REGISTER, headers={"accept": accept, "x-api-key": key}, input=product_fields())
    assert (answer.status, answer.code_and_field) == (403, ("FORBIDDEN", None))
