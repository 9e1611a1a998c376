"""A certificate for tests, with an authority of its own, by the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    ca: Path
    certificate: Path
    key: Path


def make_certificate(folder: Path, host: str) -> Certificate:
    """A certificate for one host name, good for a day."""
    made = Certificate(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    ca_key, request, names = folder / "ca-key.pem", folder / "request.pem", folder / "names"
    names.write_text(f"subjectAltName=DNS:{host}\n")
    signing = ("-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial")
    commands = (
        ("req", "-x509", *_KEY, "-keyout", ca_key, "-out", made.ca, "-days", "1", "-subj", "/CN=Authority of tests"),
        ("req", "-new", *_KEY, "-keyout", made.key, "-out", request, "-subj", "/CN=Wingbeat"),
        ("x509", "-req", "-in", request, "-out", made.certificate, *signing, "-days", "1", "-extfile", names),
    )
    for command in commands:
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return made


def tls_settings(certificate: Certificate, host: str) -> str:
    """The section of wingbeat.toml."""
    return (
        f'[tls]\ncertificate = "{certificate.certificate}"\nkey = "{certificate.key}"\n'
        f'ca = "{certificate.ca}"\nname = "{host}"\n'
    )
