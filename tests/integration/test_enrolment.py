"""Join tokens, and certificates for nodes: who gets one, for which name, how often, and how agents renew theirs."""

import concurrent.futures
import os
import shutil
import stat
import time

import grpc
import pytest
from harness import checkpoints
from harness.api import ApiError
from harness.certificates import Authority, Pair, credentials, describe, environment, request, server_flags
from harness.cluster import preload
from harness.conditions import eventually

DAY_SECONDS = 24 * 3600


class Secured:
    """A cluster with an authority that issues certificates, and its administrator."""

    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.authority = Authority(directory / "authority")
        # Longer than those of agents.
        self.admin = self.authority.issue("admin", "URI:spiffe://c/user/admin", days=9)
        self.pin = self.authority.pin()
        self._server = self.authority.issue("server", "DNS:localhost,IP:127.0.0.1", days=9)
        # Its authority behind it, so that whoever knows the pin finds it.
        with open(self._server.certificate, "a", encoding="ascii") as chain:
            chain.write(self.authority.certificate.read_text(encoding="ascii"))

    def start(self, *flags, issues=True, env=None):
        if issues:
            folder = self.cluster.data_dir / "tls" / "authority"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.authority.certificate, folder / "ca.crt")
            shutil.copy(self.authority.key, folder / "ca.key")
            (folder / "ca.key").chmod(0o600)
        flags = ("--cluster-id", "c", *flags)
        return self.cluster.start_server(*server_flags(self._server, self.authority, *flags), env=env)

    def muster(self, *words, **more):
        return self.cluster.muster(*words, env=environment(self.authority, self.admin), **more)

    def api(self, pair=None):
        return self.cluster.api(credentials=credentials(self.authority, pair))

    def admin_api(self):
        return self.api(self.admin)

    def token(self, node="*", uses=1, **more):
        return self.admin_api().enrolment.CreateJoinToken(node_pattern=node, uses=uses, **more)

    def agent(self, node, token, *more, pin=None, **options):
        return self.cluster.start_agent(node, "demo", "--join", token, "--ca", pin or self.pin, *more, **options)

    def identity(self, node):
        """The file with the key and the certificate that an agent has."""
        return self.cluster.cache(node) / ".nodes" / node / "node.pem"


@pytest.fixture(name="secured")
def make_secured(new_cluster, tmp_path):
    return Secured(new_cluster(), tmp_path)


def refused(call, **fields):
    with pytest.raises(ApiError) as error:
        call(**fields)
    return error.value


def used(secured, name):
    tokens = secured.admin_api().enrolment.ListJoinTokens().join_tokens
    return {token.name: token.used for token in tokens}[name]


def test_agents_join_load_and_come_back(secured, tmp_path):
    secured.start("--client-auth", "optional")
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    secured.cluster.muster(
        "publish", source, "--model", "llama@v1", "--to", f"file://{secured.cluster.store}", "--shards", 2,
        env=environment(secured.authority, secured.admin),
    )  # fmt: skip
    secured.muster("assemblies", "create", "demo", "--model", "llama@v1", "--policy", "balanced", "--min-nodes", 2)
    made = secured.muster("tokens", "create", "--node", "n*", "--uses", 2, "--json").json()
    assert made["authority_pin"] == secured.pin
    token_file = tmp_path / "token"
    token_file.write_text(made["token"] + "\n", encoding="ascii")
    # A restart in between loses no token.
    secured.cluster.kill_server()
    secured.cluster.start_server()

    agents = [secured.agent("n1", made["token"]), secured.agent("n2", f"@{token_file}")]
    secured.muster("wait", "demo", "--timeout", "60s")

    for node, agent in zip(("n1", "n2"), agents):
        pem = secured.identity(node).read_text(encoding="ascii")
        text = describe(pem)
        assert f"/node/{node}\n" in text and "URI:spiffe://" in text and "CA:FALSE" in text
        assert stat.S_IMODE(os.stat(secured.identity(node)).st_mode) == 0o600
        assert made["token"] not in agent.output() and "PRIVATE" not in agent.output()
    listed = secured.muster("tokens", "list", "--json").stdout
    assert made["token"] not in listed and '"used":2' in listed.replace(" ", "")
    # Both are back by what they have: the token is used up, and one does not even name it.
    for agent in agents:
        agent.kill()
    again = [secured.agent("n1", made["token"]), secured.cluster.start_agent("n2", "demo")]
    eventually(
        lambda: all("event=ready" in agent.output() for agent in again), "both are READY again", timeout=60
    )
    assert "event=enrolled" not in again[0].output()
    secret = made["token"].rpartition("_")[2]
    assert secret not in secured.cluster.server.output()
    assert not any(
        secret.encode() in path.read_bytes() for path in secured.cluster.data_dir.rglob("*") if path.is_file()
    ), "the token itself is stored"


def test_a_server_of_another_pin_gets_no_token(secured, tmp_path):
    secured.start()
    token = secured.token("n1")
    other = Authority(tmp_path / "other").pin()

    agent = secured.agent("n1", token.token, pin=other)

    assert agent.wait(30) == 1
    assert "is not the one that" in agent.output() and other in agent.output()
    assert not secured.identity("n1").exists()
    assert used(secured, token.join_token.name) == 0
    agent = secured.agent("n1", token.token, pin="sha256:short")
    assert agent.wait(30) == 2, agent.output()
    agent = secured.cluster.start_agent("n1", "demo", "--join", token.token)
    assert agent.wait(30) == 2 and "--join needs --ca" in agent.output()


def test_tokens_that_do_not_fit_are_refused(secured, tmp_path):
    secured.start()
    enrol = secured.api().enrolment.Enrol
    once = secured.token("gpu-*")
    pem, _ = request(tmp_path, "gpu-1")
    other_pem, _ = request(tmp_path, "gpu-2")
    answer = enrol(token=once.token, node="nodes/gpu-1", certificate_request_pem=pem)
    assert answer.authority_pem == secured.authority.certificate.read_text(encoding="ascii")

    cases = {
        "JOIN_TOKEN_USED_UP": {"token": once.token, "node": "nodes/gpu-2"},
        "JOIN_TOKEN_NOT_FOR_NODE": {"token": once.token, "node": "nodes/cpu-1"},
        "INVALID_NAME": {"token": once.token, "node": "gpu-2"},
        "NODE_NAME_ENROLLED": {"token": once.token, "node": "nodes/gpu-1"},
    }
    for reason, fields in cases.items():
        assert refused(enrol, certificate_request_pem=other_pem, **fields).reason == reason
    head, _, secret = once.token.rpartition("_")
    wrong = [
        f"{head}_{'0' * len(secret)}", f"mjt_000000000000_{secret}", once.token.upper(), once.token + " ", once.token[:-1],
        "", "mjt__", f"{once.token}{once.token}", once.token * 10_000, "mst_ci_" + "a" * 43,
    ]  # fmt: skip
    for text in wrong:
        error = refused(enrol, token=text, node="nodes/gpu-2", certificate_request_pem=other_pem)
        assert error.code == grpc.StatusCode.UNAUTHENTICATED and error.reason == "JOIN_TOKEN_REFUSED", text[:80]
        assert secret not in error.message
    # The repeat of a machine whose answer was lost, also by way of a restart, takes no other use.
    secured.cluster.kill_server()
    secured.cluster.start_server()
    again = secured.api().enrolment.Enrol(token=once.token, node="nodes/gpu-1", certificate_request_pem=pem)
    assert again.certificate_pem != answer.certificate_pem
    assert used(secured, once.join_token.name) == 1
    # Deleted, it is as one that never was.
    secured.muster("tokens", "delete", once.join_token.name.rpartition("/")[2])
    error = refused(secured.api().enrolment.Enrol, token=once.token, node="nodes/gpu-1", certificate_request_pem=pem)
    assert error.reason == "JOIN_TOKEN_REFUSED"
    assert secured.muster("tokens", "list").stdout.startswith("no join tokens")


def test_expired_tokens_and_certificates(secured, tmp_path):
    """Whose end is by the time of day, which this test sets forward."""
    offset = tmp_path / "offset"
    clock = {**preload("set_time_of_day"), "MUSTER_TEST_TIME_OFFSET": str(offset)}
    secured.start(env=clock)
    token = secured.token("n1", 5)
    agent = secured.agent("n1", token.token)
    eventually(secured.identity("n1").exists, "n1 is enrolled")
    agent.kill()
    # Its own clock alone: the certificate is over for this machine.
    offset.write_text(str(8 * DAY_SECONDS), encoding="ascii")
    late = secured.cluster.spawn(
        "late", secured.cluster.muster_command("agent", "--node", "n1", "--assembly", "demo", "--cache", secured.cluster.cache("n1")),
        env=clock,
    )  # fmt: skip
    assert late.wait(30) == 1
    assert "ended at" in late.output() and "--join" in late.output()
    # A server notices the time with its next tick.
    pem, _ = request(tmp_path, "n1")

    def ended():
        error = refused(secured.api().enrolment.Enrol, token=token.token, node="nodes/n1", certificate_request_pem=pem)
        return error.reason == "JOIN_TOKEN_REFUSED" and "it ended at" in error.message

    eventually(ended, "the token is refused for its time")
    # So has the certificate: the name is free, by another token, without anybody's help.
    offset.write_text(str(8 * DAY_SECONDS + 1), encoding="ascii")
    fresh = secured.token("n1")
    answer = secured.api().enrolment.Enrol(token=fresh.token, node="nodes/n1", certificate_request_pem=pem)
    assert "/node/n1\n" in describe(answer.certificate_pem)


def test_of_fifty_one_gets_the_only_use(secured, tmp_path):
    secured.start()
    token = secured.token("n*")
    requests = [request(tmp_path, f"n{i}")[0] for i in range(50)]
    api = secured.api()

    def enrol(i):
        try:
            return api.enrolment.Enrol(token=token.token, node=f"nodes/n{i}", certificate_request_pem=requests[i]).certificate_pem
        except ApiError as error:
            assert error.reason == "JOIN_TOKEN_USED_UP", str(error)
            return None

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        certificates = [pem for pem in pool.map(enrol, range(50)) if pem]
    assert len(certificates) == 1
    assert used(secured, token.join_token.name) == 1


def test_of_a_request_nothing_but_the_key_is_taken(secured, tmp_path):
    secured.start()
    token = secured.token("n1", 9)
    enrol = secured.api().enrolment.Enrol
    greedy, key = request(
        tmp_path, "root", "basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign",
        "subjectAltName=URI:spiffe://c/user/admin,URI:spiffe://c/node/n2,DNS:musterd,IP:127.0.0.1",
    )  # fmt: skip

    answer = enrol(token=token.token, node="nodes/n1", certificate_request_pem=greedy)

    text = describe(answer.certificate_pem)
    assert text.count("URI:") == 1 and "/node/n1\n" in text
    assert "CA:FALSE" in text and "CA:TRUE" not in text and "Certificate Sign" not in text
    for foreign in ("DNS:", "IP Address", "user/admin", "root"):
        assert foreign not in text
    # It is the key's all the same.
    own = tmp_path / "own.crt"
    own.write_text(answer.certificate_pem, encoding="ascii")
    secured.api(Pair(own, key)).nodes.ListNodes()
    for bad in ("", "garbage", greedy[:200], greedy + greedy, "x" * (20 << 10), greedy.replace("REQUEST", "CERTIFICATE")):
        error = refused(enrol, token=token.token, node="nodes/n1", certificate_request_pem=bad)
        assert error.reason == "INVALID_FIELD" and error.metadata["field"] == "certificate_request_pem", str(error)
    assert used(secured, token.join_token.name) == 1


def test_a_name_is_its_holders_until_it_is_freed(secured, tmp_path):
    secured.start()
    token = secured.token("*", 9)
    enrol = secured.api().enrolment.Enrol
    (first, first_key), (second, _) = request(tmp_path, "first"), request(tmp_path, "second")
    issued = tmp_path / "issued.crt"
    issued.write_text(
        enrol(token=token.token, node="nodes/n1", certificate_request_pem=first).certificate_pem, encoding="ascii"
    )
    holder = Pair(issued, first_key)

    error = refused(enrol, token=token.token, node="nodes/n1", certificate_request_pem=second)

    assert error.reason == "NODE_NAME_ENROLLED" and error.metadata["serial"] == holder.serial().lower()
    # Nobody renews it but who shows it, and nobody's name but its own.
    next_pem, _ = request(tmp_path, "next")
    for pair, node in ((None, "n1"), (secured.admin, "n1"), (holder, "n2")):
        error = refused(secured.api(pair).enrolment.RenewCertificate, node=f"nodes/{node}", certificate_request_pem=next_pem)
        assert error.reason in ("NODE_NOT_ENROLLED", "ACCESS_DENIED"), str(error)
    secured.api(holder).enrolment.RenewCertificate(node="nodes/n1", certificate_request_pem=next_pem)
    # Its answer may have been lost: the one before may ask again.
    secured.api(holder).enrolment.RenewCertificate(node="nodes/n1", certificate_request_pem=next_pem)
    freed = secured.muster("nodes", "release-name", "n1", "--dry-run")
    assert freed.stdout.startswith("would free the name n1")
    freed = secured.muster("nodes", "release-name", "n1")
    assert freed.stdout.startswith("freed the name n1")
    error = refused(secured.api(holder).enrolment.RenewCertificate, node="nodes/n1", certificate_request_pem=next_pem)
    assert error.reason == "NODE_NOT_ENROLLED"
    enrol(token=token.token, node="nodes/n1", certificate_request_pem=second)


def test_agents_renew_their_certificates_in_time(secured, tmp_path):
    secured.start("--node-certificate-life", "10s")
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    secured.muster("publish", source, "--model", "llama@v1", "--to", f"file://{secured.cluster.store}", "--shards", 2)
    secured.muster("assemblies", "create", "demo", "--model", "llama@v1", "--policy", "balanced")
    agent = secured.agent("n1", secured.token("n1").token)
    secured.muster("wait", "demo", "--timeout", "60s")
    first = secured.identity("n1").read_text(encoding="ascii")

    eventually(lambda: agent.output().count("event=renewed") >= 2, "two renewals, so that the first has ended", timeout=60)

    assert secured.identity("n1").read_text(encoding="ascii").split("CERTIFICATE")[0] != first.split("CERTIFICATE")[0], "a new key"
    assert agent.running() and "is not renewed" not in agent.output()
    assert secured.admin_api().is_ready("demo")
    # Away for a while: it is said once, and the agent goes on by itself, or says how to where the server came too late.
    secured.cluster.kill_server()
    before = agent.output().count("event=renewed")
    eventually(lambda: "is not renewed yet" in agent.output(), "the failure is told")
    secured.cluster.start_server()
    eventually(
        lambda: agent.output().count("event=renewed") > before or "could not be renewed: stop this agent" in agent.output(),
        "a renewal, or the word of the end",
        timeout=40,
    )
    assert agent.output().count("is not renewed yet") == 1


@pytest.mark.limit(300)
def test_two_hundred_nodes_join_over_a_restart(secured, tmp_path):
    secured.start()
    count = 200
    token = secured.token("gpu-*", count)
    requests = [request(tmp_path, f"gpu-{i}")[0] for i in range(count)]
    api = secured.api()

    def enrol(i):
        def attempt():
            try:
                return api.enrolment.Enrol(
                    token=token.token, node=f"nodes/gpu-{i}", certificate_request_pem=requests[i]
                ).certificate_pem
            except ApiError as error:
                # Again, as agents do over the restart.
                if error.code == grpc.StatusCode.UNAVAILABLE:
                    return None
                raise

        return eventually(attempt, f"gpu-{i} is enrolled", timeout=60)

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        half = list(pool.map(enrol, range(count // 2)))
        pending = [pool.submit(enrol, i) for i in range(count // 2, count)]
        secured.cluster.kill_server()
        secured.cluster.start_server()
        certificates = half + [one.result() for one in pending]
    print(f"{count} nodes enrolled over a restart in {time.monotonic() - begin:.2f} s")
    assert len(set(certificates)) == count
    assert used(secured, token.join_token.name) == count
    error = refused(
        api.enrolment.Enrol, token=token.token, node="nodes/gpu-x", certificate_request_pem=request(tmp_path, "x")[0]
    )
    assert error.reason == "JOIN_TOKEN_USED_UP"


@pytest.mark.parametrize("why", ["no authority", "told so", "no TLS"])
def test_enrolment_that_is_off_says_so(secured, tmp_path, why):
    if why == "no TLS":
        secured.cluster.start_server()
        api = secured.cluster.api()
    else:
        secured.start(*(["--enroll", "off"] if why == "told so" else []), issues=why == "told so")
        api = secured.admin_api()
    pem, _ = request(tmp_path, "n1")
    calls = [
        (api.enrolment.CreateJoinToken, {"node_pattern": "n1"}),
        (api.enrolment.Enrol, {"token": "mjt_" + "0" * 12 + "_" + "0" * 64, "node": "nodes/n1", "certificate_request_pem": pem}),
        (api.enrolment.RenewCertificate, {"node": "nodes/n1", "certificate_request_pem": pem}),
    ]
    for call, fields in calls:
        error = refused(call, **fields)
        assert error.code == grpc.StatusCode.FAILED_PRECONDITION and error.reason == "ENROLMENT_OFF", str(error)


def test_login_makes_a_context_of_a_pin(secured, tmp_path):
    secured.start("--client-auth", "require")
    config = tmp_path / "config" / "config.yaml"
    variables = {"MUSTER_CONFIG": str(config)}
    words = ["--cert", secured.admin.certificate, "--key", secured.admin.key, "--name", "prod"]

    def login(pin, *more, check=True):
        # --server, which the harness adds, has no say in it.
        return secured.cluster.muster("login", secured.cluster.address, "--ca", pin, *more, env=variables, check=check)

    wrong = login(Authority(tmp_path / "other").pin(), *words, check=False)
    assert wrong.code == 1 and "is not the one that" in wrong.stderr and not config.exists()
    stranger = Authority(tmp_path / "strangers").issue("admin", "URI:spiffe://c/user/admin")
    foreign = login(secured.pin, "--cert", stranger.certificate, "--key", stranger.key, check=False)
    assert foreign.code == 4 and not config.exists(), str(foreign)
    done = login(secured.pin, *words)
    assert "context prod is in use" in done.stdout
    assert secured.cluster.muster("models", env=variables).stdout.startswith("no model versions")
    folder = config.parent / "clusters" / "prod"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / "ca.crt").stat().st_mode) == 0o600


def test_tokens_go_over_tls_only(secured, tmp_path):
    secured.cluster.start_server()
    token = tmp_path / "token"
    token.write_text("mst_ci_" + "s" * 43, encoding="ascii")
    token.chmod(0o600)
    for variables, words in (({"MUSTER_TOKEN": token.read_text(encoding="ascii")}, []), ({}, ["--token-file", token])):
        done = secured.cluster.muster("models", *words, env=variables, check=False)
        assert done.code == 1 and "over TLS only" in done.stderr, str(done)
        assert "sssss" not in done.text
    token.chmod(0o644)
    done = secured.muster("models", "--token-file", token, check=False)
    assert done.code == 1 and "chmod 600" in done.stderr, str(done)
