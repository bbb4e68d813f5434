"""Authorities and certificates, made by openssl."""

import hashlib
import pathlib
import subprocess

import grpc


class Authority:
    """A certificate authority in a directory, and what it signs."""

    def __init__(self, directory, name="authority"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.certificate = self.directory / f"{name}.crt"
        self.key = self._key = self.directory / f"{name}.key"
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.certificate, "-subj", f"/CN={name}", "-days", "10")

    def issue(self, name, names, days=5):
        """A certificate for what `names` lists, as in "DNS:localhost,IP:127.0.0.1"; negative days are over."""
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n", encoding="ascii")
        _openssl("req", *_NEW_KEY, "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", days,
            "-out", pair.certificate, "-extfile", extensions,
        )  # fmt: skip
        return pair

    def server(self, name="server"):
        return self.issue(name, "DNS:localhost,IP:127.0.0.1")


    def pin(self):
        """By which `muster` knows it before it has its certificate."""
        public = _openssl("x509", "-in", self.certificate, "-noout", "-pubkey")
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), capture_output=True, check=True, timeout=60
        )
        return "sha256:" + hashlib.sha256(der.stdout).hexdigest()


def request(directory, name, *extensions):
    """A request for a certificate, which asks for extensions such as "basicConstraints=CA:TRUE"; with its key's path."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    key, path = directory / f"{name}.key", directory / f"{name}.csr"
    wishes = [word for extension in extensions for word in ("-addext", extension)]
    _openssl("req", *_NEW_KEY, "-keyout", key, "-out", path, "-subj", f"/CN={name}", *wishes)
    return path.read_text(encoding="ascii"), key


def describe(certificate_pem):
    """What openssl says of it."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=certificate_pem, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


class Pair:
    """A certificate and its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def serial(self):
        text = _openssl("x509", "-in", self.certificate, "-noout", "-serial")
        return text.strip().partition("=")[2].lower()


def environment(authority=None, pair=None):
    """What `muster` takes as its end of the connection."""
    variables = {}
    if authority is not None:
        variables["MUSTER_TLS_CA"] = str(authority.certificate)
    if pair is not None:
        variables |= {"MUSTER_TLS_CERT": str(pair.certificate), "MUSTER_TLS_KEY": str(pair.key)}
    return variables


def server_flags(pair, authority=None, *more):
    flags = ["--tls-cert", pair.certificate, "--tls-key", pair.key]
    return [*flags, *(["--tls-ca", authority.certificate] if authority else []), *more]


def credentials(authority, pair=None):
    """The same for Python's gRPC."""
    key, chain = (pair.key.read_bytes(), pair.certificate.read_bytes()) if pair else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, chain)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
