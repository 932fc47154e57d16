"""Settings with structure: parsing, rejected values, and the environment for other processes."""

import json

import pytest

from db.errors import BadInput
from graph_api.records.configuration import Service
from graph_api.settings import read_settings

SERVICES = {
    "crm": "https://crm.shop.example/api",
    "directory": {
        "address": "http://[::1]:8080",
        "tenants": {"acme": ["/people", "/v1"]},
        "authorization": True,
        "private": True,
        "timeout": 0.5,
        "max_bytes": 1_000,
        "concurrency": 2,
        "batch": 50,
        "headers": {"X-Api-Key": "hush"},
    },
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HEADWATER_SERVICES", "HEADWATER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_service_is_an_address_or_an_address_with_options(environment: pytest.MonkeyPatch) -> None:
    assert read_settings().services == {}
    environment.setenv("HEADWATER_SERVICES", json.dumps(SERVICES))
    services = read_settings().services
    assert services["crm"] == Service(address="https://crm.shop.example/api")
    defaults = services["crm"]
    assert (defaults.authorization, defaults.private, defaults.timeout, defaults.max_bytes) == (False, False, 2, 1_048_576)
    assert (defaults.concurrency, defaults.batch, defaults.headers) == (8, 1, {})
    assert services["directory"].to_json() == SERVICES["directory"]


def test_an_empty_variable_configures_no_service(environment: pytest.MonkeyPatch) -> None:
    for empty in ("", " ", "{}"):
        environment.setenv("HEADWATER_SERVICES", empty)
        assert read_settings().services == {}


def test_other_processes_read_the_same_settings_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HEADWATER_SERVICES", json.dumps(SERVICES))
    settings = read_settings(database_url="postgresql://there", workers=2, lineage_timeout=0.5)
    for name, value in settings.environment.items():
        environment.setenv(name, value)
    assert read_settings() == settings
    assert read_settings().services["directory"].headers["X-Api-Key"].get_secret_value() == "hush"


def test_secrets_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HEADWATER_SERVICES", json.dumps(SERVICES))
    settings = read_settings()
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


INVALID_ADDRESS = "HEADWATER_SERVICES, crm, address: must be http or https, a host, and optionally a port and a path"
INVALID_ADDRESSES = [
    "",
    "crm.shop.example",
    "//crm.shop.example",
    "ftp://crm.shop.example",
    "file:///etc/passwd",
    "http://",
    "http:///customers",
    "http://user:hush@crm.shop.example",
    "http://user@crm.shop.example",
    "http://crm.shop.example?key=hush",
    "http://crm.shop.example/#a",
    "http://crm.shop.example/a/../b",
    "http://crm.shop.example/a b",
    "http://crm.shop.example:99999",
    "http://crm.shop.example:0",
    "http://crm.shop.example\\@evil.example",
    "http://crm.shop.example\n",
    " http://crm.shop.example",
    "http://[::1",
    "http://[fe80::1%25eth0]",
    "http://kündin.example",
]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((json.dumps({"crm": it}), INVALID_ADDRESS) for it in INVALID_ADDRESSES),
        *((json.dumps({"crm": {"address": it}}), INVALID_ADDRESS) for it in INVALID_ADDRESSES[:4]),
        ("{", 'HEADWATER_SERVICES: must be JSON such as {"crm": "https://crm.shop.example"}.'),
        ("[]", "HEADWATER_SERVICES: Input should be a valid dictionary"),
        ('{"crm": 5}', "HEADWATER_SERVICES, crm: Input should be"),
        ('{"crm": {}}', "HEADWATER_SERVICES, crm, address: Field required"),
        ('{"crm": {"address": "http://a", "adress": "hush"}}', "HEADWATER_SERVICES, crm, adress: Extra inputs"),
        ('{"crm": {"address": "http://a", "timeout": 0}}', "HEADWATER_SERVICES, crm, timeout: "),
        ('{"crm": {"address": "http://a", "timeout": 60}}', "HEADWATER_SERVICES, crm, timeout: "),
        ('{"crm": {"address": "http://a", "batch": 0}}', "HEADWATER_SERVICES, crm, batch: "),
        ('{"crm": {"address": "http://a", "concurrency": 0}}', "HEADWATER_SERVICES, crm, concurrency: "),
        ('{"crm": {"address": "http://a", "concurrency": 51}}', "HEADWATER_SERVICES, crm, concurrency: "),
        ('{"crm": {"address": "http://a", "max_bytes": 4194305}}', "HEADWATER_SERVICES, crm, max_bytes: "),
        ("[" * 100_000, "HEADWATER_SERVICES: the JSON is nested too deeply."),
        (
            '{"crm": "http://a", "directory": "http://b", "crm": "http://c"}',
            "HEADWATER_SERVICES: 'crm' appears twice in one object.",
        ),
        ('{"crm": {"address": "http://a", "batch": 1, "batch": 2}}', "HEADWATER_SERVICES: 'batch' appears twice in one object."),
        ('{"": "http://a"}', "HEADWATER_SERVICES: service is empty."),
        ('{" crm": "http://a"}', "HEADWATER_SERVICES: service has spaces at an end, or a control character"),
        ('{"c\\u0000": "http://a"}', "HEADWATER_SERVICES: service "),
        ('{"c\\ud800": "http://a"}', "HEADWATER_SERVICES: service "),
        ('{"c\\u000am": "http://a"}', "HEADWATER_SERVICES: service has spaces at an end, or a control character"),
        (
            '{"crm": {"address": "http://a", "headers": {"X-Key": "hush\\r\\nX: y"}}}',
            "HEADWATER_SERVICES, crm: the header 'X-Key'",
        ),
        ('{"crm": {"address": "http://a", "headers": {"X Key": "hush"}}}', "HEADWATER_SERVICES, crm: the header 'X Key'"),
        ('{"crm": {"address": "http://a", "headers": {"HOST": "hush"}}}', "HEADWATER_SERVICES, crm: the header HOST"),
        (
            '{"crm": {"address": "http://a", "authorization": true, "headers": {"authorization": "hush"}}}',
            "HEADWATER_SERVICES, crm: configure either a header Authorization",
        ),
    ],
)
def test_invalid_services_are_rejected_without_repeating_secrets(
    environment: pytest.MonkeyPatch, value: str, message: str
) -> None:
    environment.setenv("HEADWATER_SERVICES", value)
    with pytest.raises(BadInput) as raised:
        read_settings()
    assert message in raised.value.message
    assert "hush" not in f"{raised.value.message} {raised.value.__cause__}"


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", []),
        ("*", ["*"]),
        ("https://app.shop.example", ["https://app.shop.example"]),
        (
            "https://a.example, http://localhost:5173 ,http://[::1]:1,",
            ["https://a.example", "http://localhost:5173", "http://[::1]:1"],
        ),
        ('["https://a.example", "https://b.example"]', ["https://a.example", "https://b.example"]),
        ("[]", []),
    ],
)
def test_origins_are_a_json_list_or_separated_by_commas(environment: pytest.MonkeyPatch, value: str, origins: list[str]) -> None:
    environment.setenv("HEADWATER_CORS_ORIGINS", value)
    settings = read_settings()
    assert settings.cors_origins == origins
    environment.setenv("HEADWATER_CORS_ORIGINS", settings.environment["HEADWATER_CORS_ORIGINS"])
    assert read_settings().cors_origins == origins


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        *(
            ("cors_origins", it, "is not an origin")
            for it in (
                "a.example",
                "https://a.example/",
                "https://A.example",
                "null",
                "*, https://a.example",
                "https://u@a.example",
            )
        ),
        ("cors_origins", "[", "must be a JSON list"),
        ("cors_origins", "[5]", "valid string"),
        ("tenant_rate", "many", "HEADWATER_TENANT_RATE: must be one rate"),
        ("key_rate", "1/second;5/minute", "HEADWATER_KEY_RATE: must be one rate"),
        ("key_rate", "0/minute", "or empty for no limit"),
        ("redis_url", "localhost:6379", "HEADWATER_REDIS_URL: must be a URL such as redis://"),
        ("redis_url", "http://hush@localhost", "HEADWATER_REDIS_URL: must be a URL such as redis://"),
        ("max_batch", "-1", "HEADWATER_MAX_BATCH"),
        ("request_timeout", "0", "HEADWATER_REQUEST_TIMEOUT"),
    ],
)
def test_invalid_settings_are_rejected_without_repeating_secrets(
    environment: pytest.MonkeyPatch, setting: str, value: str, message: str
) -> None:
    environment.setenv(f"HEADWATER_{setting.upper()}", value)
    with pytest.raises(BadInput) as raised:
        read_settings()
    assert message in raised.value.message
    assert "hush" not in raised.value.message


def test_an_empty_rate_or_redis_url_is_none(environment: pytest.MonkeyPatch) -> None:
    for name in ("TENANT_RATE", "KEY_RATE", "REDIS_URL"):
        environment.setenv(f"HEADWATER_{name}", "")
    settings = read_settings()
    assert (settings.tenant_rate, settings.key_rate, settings.redis_url) == ("", "", None)
    assert "hush" not in repr(read_settings(redis_url="redis://:hush@cache:6379/1"))
