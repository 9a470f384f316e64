"""Authorities and certificates of the tests' own, made anew for each run."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates for 127.0.0.1. `cert` and `key` name PEM files of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = _name(name)
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.cert = folder / f"{name}.pem"
        self._write(self.cert, self._signed(self._name, self._private.public_key(), ca=True))
        #: Of what it issued last, by name.
        self.serials: dict[str, int] = {}

    def issue(
        self, name: str, *names: x509.GeneralName, lasts: timedelta = timedelta(days=1)
    ) -> tuple[str, str]:
        """The files of a new certificate and its key.

        Those that were there are replaced at once, the key first, as careful programs do.

        Args:
            name: Its common name, and that of the files.
            names: More of its names.
            lasts: When it ends, from now on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        cert, secret = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        signed = self._signed(_name(name), key.public_key(), names, ca=False, lasts=lasts)
        self.serials[name] = signed.serial_number
        new = secret.with_suffix(".new")
        new.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        new.chmod(0o600)
        new.replace(secret)
        self._write(cert.with_suffix(".new"), signed)
        cert.with_suffix(".new").replace(cert)
        return str(cert), str(secret)

    def revoke(self, *names: str) -> Path:
        """The file of its list of revoked certificates: those that it issued last under these names."""
        now = datetime.now(UTC)
        listed = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(days=1))
            .next_update(now + timedelta(days=1))
        )
        for name in names:
            revoked = x509.RevokedCertificateBuilder().serial_number(self.serials[name]).revocation_date(now)
            listed = listed.add_revoked_certificate(revoked.build())
        path = self.cert.with_suffix(".crl")
        path.with_suffix(".new").write_bytes(
            listed.sign(self._private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return path.with_suffix(".new").replace(path)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName] = (),
        *,
        ca: bool,
        lasts: timedelta = timedelta(days=1),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *names])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + lasts)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(self._private, hashes.SHA256())
        )

    @staticmethod
    def _write(path: Path, cert: x509.Certificate) -> None:
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")
