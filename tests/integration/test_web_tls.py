"""A server that ends TLS itself cannot hand a session over: the WebSocket is refused in words."""

from __future__ import annotations

import datetime
import http.client
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import services
from tests.support.rawsocket import HANDSHAKE
from tests.support.waiting import until
from tests.support.web import free_port


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


def test_a_socket_under_tls_is_refused_with_the_reason(
    database_url: str, broker_url: str, live_url: str, tmp_path: Path
):
    certificate_file, key_file = certificate(tmp_path)
    port = free_port()
    environment = services.environment(
        TENURE_DATABASE_URL=database_url,
        TENURE_BROKER_URL=broker_url,
        TENURE_LIVE_URL=live_url,
        TENURE_DATA_DIR=str(tmp_path),
        TENURE_SECRET_KEY="a key for tests that is long enough",
    )
    command = [
        *(sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"),
        *("--certfile", str(certificate_file), "--keyfile", str(key_file)),
    ]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def ask(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers() -> bool:
        assert process.poll() is None, log_file.read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return ask("/livez", {})[0] == 200
        except OSError:
            return False

    log_file = tmp_path / "web.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=services.ROOT, env=dict(environment), stdout=log, stderr=log)
    try:
        until(answers, 60, what="web answers under TLS")
        status, body = ask("/ws", {name: value for name, value in HANDSHAKE.items() if name != "Host"})
        assert status == 503
        assert json.loads(body)["code"] == "tls_ends_here"
        assert "TLS must end at a proxy" in json.loads(body)["detail"]
        assert "ws.tls_refused" in log_file.read_text()
    finally:
        process.terminate()
        process.wait(30)
