"""Supervision of the embedded server: one attempt to start it again that fails is not the last."""

from pathlib import Path

import pytest

from db.embedded.server import EmbeddedServer
from graph_api.commands import supervision
from tests.graph_api.commands.service_processes import cluster_of, postmaster_of
from tests.processes import wait_until

pytestmark = pytest.mark.integration


# a failure that nobody foresees, as if the disk had returned garbage, and one that has an error of its own
@pytest.mark.parametrize(("garbage", "explanation"), [(b"\xff", "Traceback"), (b"99\n", "version 99")])
async def test_the_server_is_started_again_after_an_attempt_that_failed(
    new_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    garbage: bytes,
    explanation: str,
) -> None:
    monkeypatch.setattr(supervision, "_INTERVAL", 0.01)
    monkeypatch.setattr(supervision, "_RETRY_INTERVAL", 0.01)
    with (
        EmbeddedServer.start(new_data, {"fsync": "off"}) as server,
        supervision.supervised(server),
    ):

        async def is_logged(event: str) -> bool:
            return any(it.message.startswith(event) for it in caplog.records)

        version = cluster_of(new_data) / "PG_VERSION"
        content = version.read_bytes()
        version.write_bytes(garbage)
        killed = postmaster_of(new_data)
        assert killed
        killed.kill()
        await wait_until(lambda: is_logged("database server not restarted"))
        assert explanation in caplog.text
        version.write_bytes(content)
        await wait_until(lambda: is_logged("database server restarted"))
        assert postmaster_of(new_data)
    # an export writes its lines there
    assert capsys.readouterr().out == ""
