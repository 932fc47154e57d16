"""Supply of packages and containers: locked by hashes, and without rights that they do not need."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = [*sorted((ROOT / "locks").glob("*.txt")), ROOT / "tests/conformance/python/requirements.txt"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
# Packages of other platforms or Python versions, which the machine that pins does not install.
ELSEWHERE = {"async-timeout", "colorama"}

COMPOSE = (ROOT / "docker-compose.yml").read_text()


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, tuple[str, int]]:
    """Return the version of each package in a lock, and how many hashes it has."""
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in filter(None, text.splitlines()):
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)(?: ; [^\\]*?)?((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*", line)
        assert match is not None, line
        found[normalized(match[1])] = match[2], match[3].count("--hash")
    return found


def services() -> dict[str, str]:
    """Return the text of each service in the compose file."""
    section = re.search(r"^services:\n(.*?)^(?=\S)", COMPOSE, re.MULTILINE | re.DOTALL)
    assert section is not None
    return dict(re.findall(r"^  (\w+):\n(.*?)(?=^  \w|\Z)", section[1], re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda it: str(it.relative_to(ROOT)))
def test_a_lock_has_the_hashes_of_every_package_and_no_address(lock: Path) -> None:
    packages = locked(lock)
    assert len(packages) > 1
    assert all(hashes > 0 for _, hashes in packages.values()), packages
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", lock.read_text())


def test_the_locks_hold_what_the_constraints_pin() -> None:
    pins = {normalized(name): version for name, version in PINS.items()}
    all_locked: dict[str, str] = {}
    for lock in LOCKS[:-1]:
        versions = {name: version for name, (version, _) in locked(lock).items() if name not in ELSEWHERE}
        assert versions.items() <= pins.items(), f"{lock.name} is stale: make locks"
        all_locked |= versions
    assert all_locked == pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, requirements in (
        ("runtime", project["dependencies"]),
        ("development", [*project["dependencies"], *extras["dev"], *extras["embedded"]]),
    ):
        names = {normalized(re.split(r"[\[<>=]", it)[0]) for it in requirements}
        assert names <= locked(ROOT / f"locks/{name}.txt").keys()


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_every_installation_checks_hashes_or_installs_the_project_alone(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    # what is installed only to pin and to lock is not part of anything
    text = re.sub(r"^\t\.venv-(constraints|locks)/.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"##? .*$", "", text, flags=re.MULTILINE)
    installations = re.findall(r"(?:\bpip|\$\(PIP\))(?: --\S+)* (?:install|wheel) [^;&\n]*", text)
    assert len(installations) == 4
    for it in installations:
        assert "--require-hashes --requirement " in it or "--no-deps" in it, it
        # a build in isolation would install its requirements without hashes
        assert "--no-deps" not in it or "--no-build-isolation" in it or it.strip().endswith(".whl"), it


def test_containers_are_confined() -> None:
    confined = re.search(r"^x-confined: &confined\n(.*?)\n\n", COMPOSE, re.MULTILINE | re.DOTALL)
    assert confined is not None
    assert {it.strip() for it in confined[1].splitlines()} == {
        "cap_drop: [ALL]",
        'security_opt: ["no-new-privileges:true"]',
        "read_only: true",
        "tmpfs: [/tmp]",
    }
    assert services().keys() == {"postgres", "migrate", "headwater"}
    for name, text in services().items():
        assert "    <<: *confined\n" in text, name
        assert not re.search(r"cap_add|privileged|read_only|security_opt|cap_drop|network_mode|pid:|docker\.sock", text), name
    assert "    user: postgres\n" in services()["postgres"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["headwater"]


def test_only_the_service_is_published_and_each_container_has_the_secrets_that_it_needs() -> None:
    texts = services()
    assert {name for name, text in texts.items() if "ports:" in text} == {"headwater"}
    assert re.findall(r'^      - "(.*?)"$', texts["headwater"], re.MULTILINE) == ["127.0.0.1:8000:8000"]
    assert {name: re.findall(r"networks: \[(.*?)\]", text) for name, text in texts.items()} == {
        "postgres": ["database"],
        "migrate": ["database"],
        "headwater": ["database, clients"],
    }
    assert re.search(r"^  database:\n    internal: true\n", COMPOSE, re.MULTILINE)
    secrets = {name: set(re.findall(r"(HEADWATER_(?:KEY_SECRET|BOOTSTRAP_KEY)):", text)) for name, text in texts.items()}
    assert secrets == {"postgres": set(), "migrate": set(), "headwater": {"HEADWATER_KEY_SECRET", "HEADWATER_BOOTSTRAP_KEY"}}
    # the service does not log in as the owner
    assert "//headwater_login:" in texts["headwater"]
