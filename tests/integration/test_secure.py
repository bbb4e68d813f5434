"""One command to a secured cluster: `musterd --secure` and `muster certs`, judged by openssl, grpcurl and real processes."""

import json
import os
import pathlib
import shlex
import shutil
import stat
import subprocess

import pytest
from harness import checkpoints
from harness.certificates import Pair, credentials, environment
from harness.cluster import binary
from harness.conditions import eventually
from test_tls import shown_serial

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = "test-cluster"
# The server looks at its files every 10 s, and then whether they stay as they are.
RENEWAL_SECONDS = 30.0


class Files:
    """A directory as `muster certs init` and `musterd --secure` make it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        # As harness/certificates.py has an authority.
        self.certificate = self.directory / "ca.crt"
        self.server = self.pair("server")
        self.admin = self.pair("admin")

    def pair(self, name):
        return Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")

    def contents(self):
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}


def muster(*words, check=True, env=None, cwd=None):
    done = subprocess.run(
        [binary("muster"), *map(str, words)], capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def issue(files, who, out, *flags):
    muster("certs", "issue", who, "--ca", files.directory, "--out", out, *flags)
    return Pair(out / f"{who.rsplit('/', 1)[-1]}.crt", out / f"{who.rsplit('/', 1)[-1]}.key")


def facts(certificate):
    return json.loads(muster("certs", "show", certificate, "--json").stdout)["items"][0]


def verifies(authority, certificate, *flags):
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", authority, *flags, certificate],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode == 0


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(name="files", scope="module")
def make_files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certs") / "tls"
    muster("certs", "init", "--out", directory, "--for", "muster.example,10.0.0.2", "--cluster", CLUSTER)
    return Files(directory)


@pytest.fixture(name="secure")
def start_secure(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--secure", "--cluster-id", CLUSTER)
    cluster.files = Files(cluster.data_dir / "tls" / "authority")
    return cluster


def server_said(cluster, beginning):
    """The line of the server's stdout that begins so; it comes once the server serves."""

    def line():
        return next((line for line in cluster.server.output().splitlines() if line.startswith(beginning)), None)

    return eventually(line, f"the server says {beginning!r}")


# --- muster certs


def test_certificates_lead_to_their_authority_and_serve_for_one_thing(files, tmp_path):
    node = issue(files, "node/n1", tmp_path / "n1")

    for pair, purpose, other in (
        (files.server, "sslserver", "sslclient"),
        (files.admin, "sslclient", "sslserver"),
        (node, "sslclient", "sslserver"),
    ):
        assert verifies(files.certificate, pair.certificate, "-purpose", purpose)
        assert not verifies(files.certificate, pair.certificate, "-purpose", other)
    for name in ("muster.example", "localhost"):
        assert verifies(files.certificate, files.server.certificate, "-verify_hostname", name)
    assert verifies(files.certificate, files.server.certificate, "-verify_ip", "10.0.0.2")
    assert not verifies(files.certificate, files.server.certificate, "-verify_hostname", "other.example")
    # What a certificate signs counts for nothing.
    assert not verifies(node.certificate, files.admin.certificate)
    assert facts(node.certificate)["uris"] == [f"spiffe://{CLUSTER}/node/n1"]
    assert facts(files.admin.certificate)["uris"] == [f"spiffe://{CLUSTER}/user/admin"]


def test_what_is_shown_is_what_openssl_reads(files):
    shown = facts(files.certificate)

    key = subprocess.run(
        f"openssl x509 -in {files.certificate} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum",
        shell=True, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert shown["pin"] == f"sha256:{key.stdout.split()[0]}"
    assert facts(files.server.certificate)["serial"] == files.server.serial()
    assert shown["authority"] and not shown["server"] and not shown["client"]
    text = muster("certs", "show", files.server.certificate).stdout
    assert "muster.example" in text and files.server.serial() in text and "hours left:   2159" in text


def test_keys_are_their_owners_and_nothing_is_replaced_unasked(files, tmp_path):
    before = files.contents()
    assert {mode(path) for path in files.directory.glob("*.key")} == {0o600}
    again = ("certs", "init", "--out", files.directory, "--for", "a", "--cluster", CLUSTER)

    done = muster(*again, check=False)
    assert done.returncode != 0 and "--force replaces it" in done.stderr
    issue(files, "node/n1", tmp_path / "n1")
    key = (tmp_path / "n1" / "n1.key").read_bytes()
    for who in ("node/n1", "user/n1"):
        done = muster("certs", "issue", who, "--ca", files.directory, "--out", tmp_path / "n1", check=False)
        assert done.returncode != 0 and "--force replaces it" in done.stderr

    assert files.contents() == before
    assert (tmp_path / "n1" / "n1.key").read_bytes() == key
    issue(files, "node/n1", tmp_path / "n1", "--force")
    assert (tmp_path / "n1" / "n1.key").read_bytes() != key


def test_renewed_certificate_has_the_names_and_another_key(files, tmp_path):
    node = issue(files, "node/n1", tmp_path / "n1", "--days", "3")
    before, key = facts(node.certificate), node.key.read_bytes()

    muster("certs", "renew", node.certificate, "--ca", files.directory)

    after = facts(node.certificate)
    assert verifies(files.certificate, node.certificate, "-purpose", "sslclient")
    assert (after["uris"], after["client"], after["server"]) == (before["uris"], True, False)
    assert after["serial"] != before["serial"] and after["pin"] != before["pin"] and node.key.read_bytes() != key
    assert 71 <= after["hours_left"] <= 72


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["issue", "n1"], "node/NAME or user/NAME"),
        (["issue", "node/../../etc/x"], "node/NAME or user/NAME"),
        (["issue", "node/ca"], "is that of an authority"),
        (["issue", "server"], "--for HOST"),
        (["issue", "server", "--for", "a b"], "is neither a host name nor an IP address"),
        (["issue", "node/n1", "--days", "-1"], "--days"),
        (["renew", "FILES/ca.crt"], "an authority isn't renewed"),
        (["renew", "OTHER/n1.crt"], "is not the authority in"),
    ],
)
def test_what_can_not_be_certified_is_told(files, tmp_path, words, told):
    other = tmp_path / "other"
    muster("certs", "init", "--out", other, "--for", "a", "--cluster", CLUSTER)
    muster("certs", "issue", "node/n1", "--ca", other, "--out", other)
    before = Files(other).contents()
    words = [word.replace("FILES", str(files.directory)).replace("OTHER", str(other)) for word in words]

    done = muster("certs", *words, "--ca", files.directory, check=False, cwd=tmp_path)

    assert done.returncode in (1, 2) and told in done.stderr, done.stderr
    assert "PRIVATE KEY" not in done.stderr
    assert Files(other).contents() == before and not list(tmp_path.glob("*.key"))


# --- musterd --secure


def test_first_start_makes_what_is_needed_for_its_owner_alone(secure):
    files = secure.files

    assert {path.name for path in files.directory.iterdir()} == {
        f"{name}.{kind}" for name in ("ca", "server", "admin") for kind in ("crt", "key")
    }
    assert mode(files.directory) == 0o700
    assert {mode(path) for path in files.directory.glob("*.key")} == {0o600}
    assert verifies(files.certificate, files.server.certificate, "-purpose", "sslserver", "-verify_hostname", "localhost")
    assert verifies(files.certificate, files.server.certificate, "-verify_ip", "127.0.0.1")
    assert verifies(files.certificate, files.admin.certificate, "-purpose", "sslclient")
    assert facts(files.admin.certificate)["uris"] == [f"spiffe://{CLUSTER}/user/admin"]
    policy = json.loads((secure.data_dir / "policy.json").read_text(encoding="utf-8"))
    assert policy["grants"] == [
        {"who": "user/admin", "role": "admin", "on": ["**"]},
        {"who": "node/*", "role": "node", "on": ["assemblies/**"]},
    ]
    assert "PRIVATE KEY" not in secure.server.output()


def test_lines_to_go_on_with_can_be_pasted(secure, tmp_path):
    home = {"MUSTER_CONFIG": str(tmp_path / "config.yaml")}
    path = {"PATH": f"{pathlib.Path(binary('muster')).parent}:{os.environ['PATH']}"}

    def paste(line):
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
            env={**os.environ, **home, **path},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    paste(server_said(secure, "To use it on this machine: ").partition(": ")[2])
    assert "no model versions" in paste("muster models")
    node = server_said(secure, "For a node n1: ").partition(": ")[2]
    token = paste(node.partition(";")[0]).strip()
    agent = shlex.split(node.partition("on the node: ")[2].replace("TOKEN", token).replace("ASSEMBLY", "demo"))
    assert agent[:2] == ["muster", "agent"] and agent[agent.index("--server") + 1] == secure.address
    # It gets a certificate of its own, and the server lets it in.
    joined = secure.spawn("n1", [binary("muster"), *agent[1:], "--cache", tmp_path / "cache-n1"])
    eventually(lambda: "event=enrolled" in joined.output(), "n1 has a certificate")


def test_loop_with_three_agents_and_a_restart(secure, monkeypatch, tmp_path):
    files = secure.files
    for name, value in environment(files, files.admin).items():
        monkeypatch.setenv(name, value)
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    secure.publish(source, "llama@v1", shards=6)
    secure.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = []
    for name in ("n1", "n2", "n3"):
        own = issue(files, f"node/{name}", tmp_path / name)
        agents.append(secure.start_agent(name, "demo", "--tls-cert", own.certificate, "--tls-key", own.key))
    secure.wait_ready("demo")
    secure.muster("assemble", "llama@v1", "--out", tmp_path / "out")
    assert checkpoints.open_directory(tmp_path / "out") == checkpoints.open_with_safetensors(source)
    before = files.contents()

    secure.kill_server()
    secure.start_server()

    assert files.contents() == before
    eventually(lambda: secure.muster("status", "demo", "--json").json()["assembly"]["state"] == "READY", "READY again")
    assert all(agent.running() for agent in agents)
    assert secure.api(credentials=credentials(files, files.admin)).is_ready("demo")


def test_grpcurl_goes_by_the_admins_certificate(secure):
    grpcurl = os.environ.get("GRPCURL", str(ROOT / "build/tools/grpcurl"))
    version = {"model_version": {"name": "models/m/versions/v1", "shard_count": 1}}

    done = subprocess.run(
        [grpcurl, "-cacert", secure.files.certificate, "-cert", secure.files.admin.certificate]
        + ["-key", secure.files.admin.key, "-d", json.dumps(version), secure.address]
        + ["muster.v1.ModelService/CreateModelVersion"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "models/m/versions/v1" in done.stdout and "DRAFT" in done.stdout


def test_strangers_are_refused(secure, tmp_path):
    # An authority of the same name, with a key of its own.
    muster("certs", "init", "--out", tmp_path / "other", "--for", "a", "--cluster", CLUSTER)
    stranger = Files(tmp_path / "other").admin

    done = secure.muster("models", env=environment(secure.files, stranger), check=False, timeout=10)

    assert done.code == 4 and "it refuses this end" in done.stderr, str(done)
    done = secure.muster("models", env=environment(Files(tmp_path / "other")), check=False, timeout=10)
    assert done.code == 4 and "is not believed" in done.stderr, str(done)


def test_restart_makes_again_only_what_the_server_needs(secure):
    files = secure.files
    before = files.contents()
    policy = secure.data_dir / "policy.json"
    policy.write_text(policy.read_text(encoding="utf-8").replace("node/*", "node/gpu-*"), encoding="utf-8")
    edited = policy.read_bytes()

    def restart(*flags):
        secure.kill_server()
        secure.start_server("--secure", *flags)
        return files.contents()

    files.server.key.unlink()
    after = restart()
    assert after["server.key"] != before["server.key"] and after["server.crt"] != before["server.crt"]
    assert {name for name in before if before[name] != after[name]} == {"server.key", "server.crt"}
    # A name that is not in it yet.
    named = restart("--secure-name", "muster.example", "--secure-name", "192.0.2.7")
    assert verifies(files.certificate, files.server.certificate, "-verify_hostname", "muster.example")
    assert verifies(files.certificate, files.server.certificate, "-verify_ip", "192.0.2.7")
    # The half of a renewal that a crash left.
    shutil.copy(files.admin.key, files.server.key)
    again = restart("--secure-name", "muster.example")
    assert again["server.key"] not in (named["server.key"], named["admin.key"])
    # What somebody keeps elsewhere.
    for path in (files.admin.key, files.admin.certificate, files.directory / "ca.key"):
        path.unlink()
    assert set(restart()) == {"ca.crt", "server.crt", "server.key"}
    assert "anonymous" in secure.muster("whoami", env=environment(files)).stdout
    assert policy.read_bytes() == edited


def test_running_server_renews_what_is_due_without_a_failed_call(secure):
    files = secure.files
    first = shown_serial(secure.address)
    held = secure.api(credentials=credentials(files, files.admin))

    # Most of their time is over from the beginning: certificates begin five minutes earlier.
    issue(files, "server", files.directory, "--days", "0.001", "--for", "localhost,127.0.0.1", "--force")
    issue(files, "user/admin", files.directory, "--days", "0.001", "--force")
    short = {files.server.serial(), files.admin.serial()}

    def renewed():
        held.models.ListModelVersions()
        return shown_serial(secure.address) not in {first, *short}

    eventually(renewed, "the server shows a renewed certificate", RENEWAL_SECONDS)
    assert facts(files.server.certificate)["hours_left"] == 90 * 24 - 1
    assert facts(files.admin.certificate)["hours_left"] == 365 * 24 - 1
    assert verifies(files.certificate, files.server.certificate, "-verify_hostname", "localhost")
    assert secure.muster("models", env=environment(files, files.admin)).code == 0
    assert "secure=failed" not in secure.server.output()


def run_musterd(data_dir, *flags):
    return subprocess.run(
        [binary("musterd"), "--data-dir", data_dir, "--listen", "127.0.0.1:0", *map(str, flags)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_authority_that_is_not_this_clusters_is_refused(secure, tmp_path):
    files = secure.files
    secure.kill_server()
    certificate = files.certificate.read_bytes()
    muster("certs", "init", "--out", tmp_path / "other", "--for", "a", "--cluster", "elsewhere")

    files.certificate.unlink()
    done = run_musterd(secure.data_dir, "--secure")
    assert done.returncode == 4 and "ca.crt" in done.stderr and "is missing" in done.stderr
    shutil.copy(tmp_path / "other" / "ca.crt", files.certificate)
    done = run_musterd(secure.data_dir, "--secure")
    assert done.returncode == 4 and "elsewhere" in done.stderr and CLUSTER in done.stderr
    # Nothing was made over it.
    files.certificate.write_bytes(certificate)
    secure.start_server()
    assert secure.muster("models", env=environment(files, files.admin)).code == 0


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--secure", "--tls-cert", "a.crt", "--tls-key", "a.key"], 2, "--secure makes the certificates itself"),
        (["--secure", "--tls-ca", "a.crt"], 2, "--secure makes the certificates itself"),
        (["--secure", "--insecure"], 2, "--insecure and --secure are opposites"),
        (["--secure", "--client-auth", "none"], 2, "--secure goes by them"),
        (["--secure-name", "a"], 2, "--secure-name is for --secure"),
        (["--secure", "--cluster-id", "Prod"], 4, "stand in certificates"),
        (["--secure", "--secure-name", "a b"], 4, "is neither a host name nor an IP address"),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path, flags, code, told):
    done = run_musterd(tmp_path / "data", *flags)

    assert done.returncode == code and told in done.stderr, done.stderr
    assert not (tmp_path / "data" / "tls" / "authority").exists()


def test_secure_server_may_listen_anywhere(new_cluster):
    cluster = new_cluster()
    cluster.start_server("--secure", listen="0.0.0.0:0")
    files = Files(cluster.data_dir / "tls" / "authority")
    port = cluster.address.rsplit(":", 1)[1]

    own = environment(files, files.admin)
    assert cluster.muster("models", server=f"127.0.0.1:{port}", env=own).code == 0
    assert f"--server localhost:{port} " in server_said(cluster, "To use it on this machine: ")
    server_said(cluster, "For a node n1: ")
    assert f"--server 0.0.0.0:{port}" not in cluster.server.output()
