"""Who may do what: every RPC as every identity, what lists and streams show, tokens, revocation, the audit log."""

import json
import pathlib
import subprocess
import threading
import time

import grpc
import pytest
from harness import checkpoints
from harness.access import CLUSTER, PolicyFile, Token, grant, node, user
from harness.api import ApiError, assembly_pb2, event_pb2
from harness.barrage import Barrage
from harness.call_maker import CallMaker, methods
from harness.certificates import Authority, credentials, environment, server_flags
from harness.cluster import binary
from harness.conditions import eventually

VERSION, NODE, ASSEMBLY = "models/llama/versions/v1", "nodes/n1", "assemblies/demo"
DENIALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
MATRIX = pathlib.Path(__file__).with_name("access_matrix.txt")
LETTERS = "arpsogmev"
# What another policy may take until it is in force, also on a machine that is busy; tests/bench says how long it takes.
POLICY_SECONDS = 3.0


@pytest.fixture(name="authority", scope="module")
def make_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


class Secured:
    """A server with a policy, and callers of all kinds."""

    def __init__(self, cluster, authority, *flags, **policy):
        self.cluster, self.authority = cluster, authority
        self.expired = Token("old", "user/admin", expires="2020-01-01")
        self.ci = Token("ci", "user/ci")
        policy.setdefault("grants", DEFAULT_GRANTS)
        policy.setdefault("tokens", [self.expired.line, self.ci.line])
        self.policy = PolicyFile(cluster.directory / "policy.json", **policy)
        self.audit = cluster.directory / "audit.jsonl"
        cluster.start_server(
            *server_flags(authority.server(), authority),
            *("--cluster-id", CLUSTER, "--policy", self.policy.path, "--audit", self.audit, *flags),
        )
        self._apis = {}

    def credentials(self, who):
        if who == "anonymous":
            return credentials(self.authority)
        kind, _, name = who.partition("/")
        if kind == "token":
            return {"old": self.expired, "ci": self.ci}[name].credentials(self.authority)
        return credentials(self.authority, {"user": user, "node": node}[kind](self.authority, name))

    def api(self, who):
        if who not in self._apis:
            self._apis[who] = self.cluster.api(credentials=self.credentials(who))
        return self._apis[who]

    def environment(self, who):
        kind, _, name = who.partition("/")
        return environment(self.authority, {"user": user, "node": node}[kind](self.authority, name))

    def audited(self):
        return [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]

    def set_up(self):
        """A version, two nodes of which one is a member of the assembly."""
        admin = self.api("user/admin")
        publish(admin, VERSION)
        admin.assemblies.CreateAssembly(
            assembly={"name": ASSEMBLY, "model_version": VERSION, "policy": 1, "min_nodes": 1}
        )
        for name in ("n1", "n2"):
            self.api(f"node/{name}").nodes.RegisterNode(node={"name": f"nodes/{name}"})
        epoch = admin.nodes.GetNode(name=NODE).node.epoch
        self.api("node/n1").assemblies.JoinAssembly(name=ASSEMBLY, node=NODE, epoch=epoch, claim={"kind": 1})
        return admin


DEFAULT_GRANTS = [
    grant("user/admin", "admin", "**"),
    grant("user/eve", "admin", "**"),
    grant("user/reader", "reader", "**"),
    grant("user/pub", "publisher", "models/**"),
    grant("user/oper", "operator", "**"),
    grant("user/ci", "reader", "models/open/**"),
    grant("node/*", "node", "assemblies/demo"),
]
WHO = {
    "a": "anonymous", "r": "user/reader", "p": "user/pub", "s": "node/n1", "o": "node/n2", "g": "user/oper",
    "m": "user/admin", "e": "token/old", "v": "user/eve",
}  # fmt: skip


def publish(api, name):
    md5 = "0" * 31 + "1"
    api.models.CreateModelVersion(model_version={"name": name, "shard_count": 1})
    shard = {"index": 0, "size_bytes": 1 << 20, "md5": md5, "locations": [{"uri": f"file:///secret/{name}"}]}
    api.models.AddShards(name=name, shards=[shard])
    api.models.CommitModelVersion(name=name)


def fill(request, method, service):
    """All names are those of the set-up; what would change something fails for another reason: an epoch that is none, or
    validate_only."""
    for field in request.DESCRIPTOR.fields:
        if field.message_type is not None and not field.is_repeated and field.name in ("model_version", "node", "assembly", "filter"):
            fill(getattr(request, field.name), method, service)
        elif field.name in ("name", "node", "assembly", "model_version", "shard") and field.type == field.TYPE_STRING:
            setattr(request, field.name, value_of(field, method, service))
        elif field.name == "epoch":
            setattr(request, field.name, 12_345)
        elif field.name == "validate_only":
            setattr(request, field.name, True)
    return request


def value_of(field, method, service):
    owner = field.containing_type.name
    if field.name in ("node", "assembly", "model_version"):
        return {"node": NODE, "assembly": ASSEMBLY, "model_version": VERSION}[field.name]
    if field.name == "shard" or owner in ("AddTensorsRequest", "GetShardRequest", "ListPiecesRequest"):
        return f"{VERSION}/shards/0"
    for part, name in (("Node", NODE), ("Assembly", ASSEMBLY), ("ModelVersion", VERSION)):
        if owner == part:
            return name
    return {"ModelService": VERSION, "NodeService": NODE, "AssemblyService": ASSEMBLY}.get(service.split(".")[-1], VERSION)


def answer_of(api, service, method):
    """(code, reason) of one call."""
    request = fill(method.input_type._concrete_class(), method, service)
    path = f"/{service}/{method.name}"
    data = request.SerializeToString()
    try:
        if method.server_streaming:
            stream = api.channel.unary_stream(path)(data, timeout=1.0)
            next(iter(stream), None)
            stream.cancel()
        else:
            api.channel.unary_unary(path)(data, timeout=10.0)
    except grpc.RpcError as error:
        failed = ApiError(method.name, error)
        return failed.code, failed.reason
    return grpc.StatusCode.OK, ""


def read_matrix():
    lines = [line.split() for line in MATRIX.read_text(encoding="ascii").splitlines() if line and not line.startswith("#")]
    return {line[0]: set(line[1:]) for line in lines}


def test_every_rpc_as_every_identity(new_cluster, authority):
    secured = Secured(new_cluster(), authority, revoked=["user/eve"])
    secured.set_up()
    wanted, found = read_matrix(), {}
    for service, method in methods():
        name = f"{service.split('.')[-1]}/{method.name}"
        found[name] = set()
        for letter in LETTERS:
            code, reason = answer_of(secured.api(WHO[letter]), service, method)
            assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), f"{name} as {WHO[letter]}: {code}"
            # Denied by the gate and by nothing else; whoever is let in is refused for other reasons, if at all.
            if code in DENIALS:
                assert reason in ("ACCESS_DENIED", "CREDENTIAL_REFUSED"), f"{name} as {WHO[letter]}: {code} {reason}"
            else:
                found[name].add(letter)
    text = "\n".join(f"{name:36} {' '.join(sorted(found[name], key=LETTERS.index))}" for name in sorted(found))
    assert found == wanted, f"the server lets in:\n{text}"
    # Each denial is told, with who and why.
    told = {(line["method"], line.get("actor"), line["allowed"]) for line in secured.audited()}
    for name, letters in found.items():
        for letter in set(LETTERS) - letters - {"e", "v"}:
            assert (name.split("/")[1], WHO[letter], False) in told, (name, WHO[letter])


# --- what answers show


def names(items):
    return [item.name for item in items]


def test_lists_show_what_may_be_read_and_hide_the_rest(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    admin = secured.set_up()
    for name in ("models/open/versions/v1", "models/open/versions/v2", "models/openly/versions/v1"):
        publish(admin, name)

    ci, n2 = secured.api("token/ci"), secured.api("node/n2")
    assert names(ci.models.ListModelVersions().model_versions) == ["models/open/versions/v1", "models/open/versions/v2"]
    assert names(n2.nodes.ListNodes().nodes) == ["nodes/n2"]
    assert names(secured.api("node/n1").models.ListModelVersions().model_versions) == [VERSION]
    assert not n2.models.ListModelVersions().model_versions
    # It may join there, and so it may look.
    assert names(n2.assemblies.ListAssemblies().assemblies) == [ASSEMBLY]
    events = {event.model_version for event in ci.events.ListEvents(page_size=1000).events}
    assert events == {"models/open/versions/v1", "models/open/versions/v2"}
    assert names(secured.api("user/reader").nodes.ListNodes().nodes) == ["nodes/n1", "nodes/n2"]


def test_watches_leave_out_what_may_not_be_read(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    admin = secured.set_up()
    got = []
    stream = secured.api("token/ci").channel.unary_stream(
        "/muster.v1.EventService/WatchEvents", response_deserializer=event_pb2.WatchEventsResponse.FromString
    )(event_pb2.WatchEventsRequest().SerializeToString(), timeout=60)
    thread = follow(stream, got)
    eventually(lambda: got, "the watch begins")
    publish(admin, "models/secret/versions/v1")
    publish(admin, "models/open/versions/v1")

    def seen():
        return [event for message in list(got) for event in message.events]

    eventually(lambda: [event for event in seen() if event.kind == event_pb2.Event.VERSION_COMMITTED], "the open one")
    assert {event.model_version for event in seen()} == {"models/open/versions/v1"}
    # Where nothing is left of it, a message is a place to resume from.
    assert all(message.events or message.progress or not message.complete for message in list(got))
    stream.cancel()
    thread.join(timeout=20)


def test_page_tokens_tell_nothing_and_are_of_one_caller(new_cluster, authority):
    grants = [*DEFAULT_GRANTS, grant("user/half", "reader", "models/a-*/**"), grant("user/other", "reader", "models/a-*/**")]
    secured = Secured(new_cluster(), authority, grants=grants)
    admin = secured.api("user/admin")
    for number in range(6):
        for letter in "ab":
            admin.models.CreateModelVersion(model_version={"name": f"models/{letter}-{number}/versions/v1", "shard_count": 1})
    half = secured.api("user/half")
    first = half.models.ListModelVersions(page_size=2)
    assert names(first.model_versions) == ["models/a-0/versions/v1", "models/a-1/versions/v1"]
    second = half.models.ListModelVersions(page_size=2, page_token=first.next_page_token)
    assert names(second.model_versions) == ["models/a-2/versions/v1", "models/a-3/versions/v1"]

    for thief in ("user/other", "user/admin"):
        with pytest.raises(ApiError) as refused:
            secured.api(thief).models.ListModelVersions(page_size=2, page_token=first.next_page_token)
        assert refused.value.reason == "INVALID_PAGE_TOKEN"
    theirs = admin.models.ListModelVersions(page_size=2).next_page_token
    with pytest.raises(ApiError) as refused:
        half.models.ListModelVersions(page_size=2, page_token=theirs)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


def test_what_is_hidden_looks_as_what_is_not_there(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    secured.set_up()
    ci = secured.api("token/ci")

    def answer(service, method, **fields):
        with pytest.raises(ApiError) as error:
            getattr(getattr(ci, service), method)(**fields)
        text = error.value.message
        for name in fields.values():
            text = text.replace(name, "NAME").replace(name.split("/shards/")[0], "NAME")
        return error.value.code, error.value.reason, text

    pairs = [
        ("models", "GetModelVersion", VERSION, "models/llama/versions/v2"),
        ("models", "GetShard", f"{VERSION}/shards/0", f"{VERSION}/shards/1"),
        ("models", "DeleteModelVersion", VERSION, "models/no/versions/v9"),
        ("models", "CommitModelVersion", VERSION, "models/no/versions/v9"),
        ("nodes", "GetNode", NODE, "nodes/n9"),
        ("nodes", "DrainNode", NODE, "nodes/n9"),
        ("assemblies", "GetAssembly", ASSEMBLY, "assemblies/none"),
        ("assemblies", "DeleteAssembly", ASSEMBLY, "assemblies/none"),
    ]
    for service, method, there, absent in pairs:
        assert answer(service, method, name=there) == answer(service, method, name=absent), method
    # By whole segments: a grant on models/open is none on models/openly, and names are not cleaned.
    for name in ("models/openly/versions/v1", "models/open/versions/../../llama/versions/v1", "models/OPEN/versions/v1", ""):
        with pytest.raises(ApiError) as refused:
            ci.models.GetModelVersion(name=name)
        assert refused.value.reason == "ACCESS_DENIED", name


def test_timing_tells_nothing_about_what_is_hidden(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    secured.set_up()
    ci = secured.api("token/ci")

    def seconds(name):
        begun = time.perf_counter()
        with pytest.raises(ApiError):
            ci.nodes.GetNode(name=name)
        return time.perf_counter() - begun

    found = {name: [] for name in (NODE, "nodes/n9")}
    for _ in range(1_000):
        for name, times in found.items():
            times.append(seconds(name))
    there, absent = (sorted(times)[len(times) // 2] for times in found.values())
    assert abs(there - absent) < 0.2 * max(there, absent), (there, absent)


def test_errors_and_plans_name_nothing_that_is_hidden(new_cluster, authority):
    cleaner = {"who": "user/cleaner", "verbs": ["delete", "read"], "on": ["models/**"]}
    drainer = grant("user/drainer", "operator", "nodes/**")
    secured = Secured(new_cluster(), authority, grants=[*DEFAULT_GRANTS, cleaner, drainer])
    secured.set_up()

    with pytest.raises(ApiError) as used:
        secured.api("user/cleaner").models.DeleteModelVersion(name=VERSION)
    assert used.value.reason == "VERSION_IN_USE"
    assert "demo" not in used.value.message and "demo" not in str(used.value.metadata)
    plans = secured.api("user/drainer").nodes.DrainNode(name=NODE, validate_only=True).plans
    assert not plans
    assert secured.api("user/admin").nodes.DrainNode(name=NODE, validate_only=True).plans
    # Which locations failed, and how, is for those who may read the version.
    blind = secured.api("node/n2").assemblies
    with pytest.raises(ApiError) as denied:
        blind.GetShardStatus(name=ASSEMBLY, shard=0)
    assert denied.value.reason == "ACCESS_DENIED"


def test_an_assembly_needs_the_right_to_read_its_version(new_cluster, authority):
    secured = Secured(new_cluster(), authority, grants=[*DEFAULT_GRANTS, grant("user/maker", "operator", "assemblies/**")])
    secured.set_up()
    maker = secured.api("user/maker").assemblies
    texts = set()
    for version in (VERSION, "models/llama/versions/none"):
        with pytest.raises(ApiError) as denied:
            maker.CreateAssembly(assembly={"name": "assemblies/mine", "model_version": version, "policy": 1, "min_nodes": 1})
        assert denied.value.reason == "ACCESS_DENIED" and denied.value.metadata["verb"] == "read"
        texts.add(denied.value.message.replace(version, "VERSION"))
    assert len(texts) == 1


# --- streams, policies, revocation


def follow(stream, into):
    def run():
        try:
            for message in stream:
                into.append(message)
        except grpc.RpcError as error:
            into.append(ApiError("watch", error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_streams_end_when_rights_end(new_cluster, authority):
    grants = [*DEFAULT_GRANTS, grant("user/guest", "reader", "**"), grant("user/fired", "reader", "**")]
    temp = Token("temp", "user/temp")
    grants.append(grant("user/temp", "reader", "**"))
    secured = Secured(new_cluster(), authority, grants=grants)
    secured.policy.write(tokens=[temp.line])
    secured.set_up()
    by_token = secured.cluster.api(credentials=temp.credentials(authority))
    watches = {}
    for who, api in (("guest", secured.api("user/guest")), ("fired", secured.api("user/fired")), ("temp", by_token)):
        got = []
        stream = api.channel.unary_stream(
            "/muster.v1.EventService/WatchEvents", response_deserializer=event_pb2.WatchEventsResponse.FromString
        )(b"", timeout=60)
        watches[who] = (got, follow(stream, got))
        eventually(lambda: got, "the watch begins")
    # One that reads nothing at all.
    blocked = secured.api("user/fired").channel.unary_stream("/muster.v1.AssemblyService/WatchAssembly")

    begun = time.monotonic()
    secured.policy.write(revoked=["user/fired"], tokens=[], grants=[g for g in grants if g["who"] != "user/guest"])
    for who, (got, thread) in watches.items():
        thread.join(timeout=10)
        assert not thread.is_alive(), who
    assert time.monotonic() - begun < POLICY_SECONDS
    ends = {who: got[-1] for who, (got, _) in watches.items()}
    assert ends["guest"].reason == "ACCESS_DENIED" and ends["guest"].code == grpc.StatusCode.PERMISSION_DENIED
    assert ends["fired"].reason == "CREDENTIAL_REFUSED" and ends["temp"].reason == "CREDENTIAL_REFUSED"
    with pytest.raises(ApiError) as refused:
        secured.api("user/fired").nodes.ListNodes()
    assert refused.value.reason == "CREDENTIAL_REFUSED"
    del blocked


def test_a_node_that_is_no_member_any_more_follows_nothing(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    admin = secured.set_up()
    # What it may join it may look at; what it was a member of, no more.
    secured.policy.write(grants=[*DEFAULT_GRANTS[:-1], grant("node/n1", "node", "assemblies/other")])
    eventually(lambda: secured.cluster.server.output().count("policy=loaded") == 2, "the policy")
    n1, got = secured.api("node/n1"), []
    stream = n1.channel.unary_stream(
        "/muster.v1.AssemblyService/WatchAssembly", response_deserializer=assembly_pb2.WatchAssemblyResponse.FromString
    )(assembly_pb2.WatchAssemblyRequest(name=ASSEMBLY).SerializeToString(), timeout=60)
    thread = follow(stream, got)
    eventually(lambda: got, "the watch begins")

    admin.assemblies.LeaveAssembly(name=ASSEMBLY, node=NODE)
    thread.join(timeout=20)

    assert not thread.is_alive() and got[-1].reason == "ACCESS_DENIED", got[-1]


def test_policy_with_a_mistake_changes_nothing(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    secured.policy.path.write_text('{\n"grants": [\n{"who": "user/x", "role": "king", "on": ["**"]}]}', encoding="utf-8")
    eventually(lambda: "policy=refused" in secured.cluster.server.output(), "the mistake is told")

    line = next(line for line in secured.cluster.server.output().splitlines() if "policy=refused" in line)
    assert "line 3" in line and "king" in line, line
    secured.api("user/admin").nodes.ListNodes()
    assert secured.cluster.server.output().count("policy=refused") == 1
    check = [binary("musterd"), "check-policy", secured.policy.path]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4 and "line 3" in done.stderr, done
    secured.policy.write()
    assert subprocess.run(check, timeout=60, check=False).returncode == 0


# --- credentials


def test_certificates_that_are_nobodys(new_cluster, authority, tmp_path):
    secured = Secured(new_cluster(), authority)
    stranger = Authority(tmp_path / "other")
    for names_of, told in (
        (f"URI:spiffe://{CLUSTER}/node/n1,URI:spiffe://{CLUSTER}/user/admin", "differs from another one"),
        (f"URI:spiffe://{CLUSTER}/node/../user/admin", '".."'),
        (f"URI:spiffe://{CLUSTER}/user/%61dmin", "percent code"),
        (f"URI:SPIFFE://{CLUSTER}/user/admin", "upper case"),
        (f"URI:spiffe://{CLUSTER}/admin", "neither of a node nor of a user"),
        (f"URI:spiffe://{CLUSTER}/user/" + "a" * 3_000, "URI"),
        ("URI:spiffe://elsewhere/user/admin", "nothing in it says who it is of"),
        ("DNS:user.admin", "nothing in it says who it is of"),
    ):
        pair = authority.issue("odd", names_of)
        api = secured.cluster.api(credentials=credentials(authority, pair))
        with pytest.raises(ApiError) as refused:
            api.nodes.ListNodes()
        assert refused.value.reason == "CREDENTIAL_REFUSED" and told in refused.value.message, (names_of, refused.value)
        assert api.serving()
    # Of equal names, by an authority that is not believed: does not get as far as that.
    api = secured.cluster.api(credentials=credentials(authority, stranger.issue("n1", f"URI:spiffe://{CLUSTER}/user/admin")))
    with pytest.raises(ApiError) as refused:
        api.nodes.ListNodes(timeout=5)
    assert refused.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def call_with(secured, metadata, pair=None):
    api = secured.cluster.api(credentials=credentials(secured.authority, pair))
    call = api.channel.unary_unary("/muster.v1.NodeService/ListNodes")
    try:
        call(b"", metadata=metadata, timeout=10)
    except grpc.RpcError as error:
        return ApiError("ListNodes", error).reason or error.code().name
    return "OK"


def test_tokens_are_taken_as_they_are_or_not(new_cluster, authority):
    token = Token("reader", "user/reader")
    secured = Secured(new_cluster(), authority, tokens=[token.line])
    text = token.text

    assert call_with(secured, [("authorization", f"Bearer {text}")]) == "OK"
    for values in (
        [text], [f"Bearer {text.upper()}"], [f"Bearer  {text}"], [f"Bearer {text} x"], [f"Basic {text}"],
        [f"Bearer {text}"] * 2, [f"Bearer {text[:-1]}"], ["Bearer mst_reader_" + "A" * 43], ["Bearer mst_nobody_" + "A" * 43],
    ):  # fmt: skip
        assert call_with(secured, [("authorization", value) for value in values]) == "CREDENTIAL_REFUSED", values
    # A header that names an identity is nothing; and a token that is refused is not made good by a certificate.
    admin = user(authority, "admin")
    for name in ("x-muster-identity", "muster-actor", "x-forwarded-user", "x-forwarded-client-cert"):
        assert call_with(secured, [(name, "user/admin")]) == "ACCESS_DENIED"
    assert call_with(secured, [], admin) == "OK"
    assert call_with(secured, [("authorization", "Bearer x")], admin) == "CREDENTIAL_REFUSED"
    assert call_with(secured, [("authorization", "Bearer " + "x" * (1 << 20))]) != "OK"
    log = secured.cluster.server.output() + secured.audit.read_text(encoding="utf-8")
    assert text[11:] not in log


def test_reflection_and_channelz_are_not_for_everybody(new_cluster, authority):
    secured = Secured(new_cluster(), authority)

    def code(who, path):
        call = secured.api(who).channel.unary_unary(path)
        try:
            call(b"", timeout=10)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    channelz = "/grpc.channelz.v1.Channelz/GetServers"
    assert code("anonymous", channelz) == grpc.StatusCode.UNAUTHENTICATED
    assert code("user/reader", channelz) == grpc.StatusCode.PERMISSION_DENIED
    assert code("user/admin", channelz) == grpc.StatusCode.OK
    for who, taken in (("anonymous", False), ("user/reader", True), ("node/n1", True)):
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        stream = secured.api(who).channel.stream_stream(path)(iter([b":\x00"]), timeout=10)
        try:
            assert next(iter(stream)) and taken, who
        except grpc.RpcError as error:
            assert not taken and error.code() == grpc.StatusCode.UNAUTHENTICATED, who
    assert secured.api("anonymous").serving()
    with pytest.raises(grpc.RpcError):
        secured.api("anonymous").channel.unary_unary("/grpc.nobody.thought/Of")(b"", timeout=10)


# --- the audit log, and who did it


def test_audit_tells_who_did_what(new_cluster, authority):
    secured = Secured(new_cluster(), authority, "--audit-reads")
    secured.set_up()
    with pytest.raises(ApiError):
        secured.api("token/ci").nodes.DrainNode(name=NODE)
    with pytest.raises(ApiError):
        secured.api("user/admin").nodes.UpdateNode(node={"name": "nodes/n1\n{\"actor\":\"user/x\"}"})

    lines = secured.audited()
    joined = next(line for line in lines if line["method"] == "JoinAssembly")
    assert joined["actor"] == "node/n1" and joined["resources"] == [NODE, ASSEMBLY] and joined["allowed"]
    assert joined["proof"] == "certificate" and joined["code"] == "OK" and joined["revision"] > 0
    assert joined["credential"] and joined["peer"].startswith("ipv4:127.0.0.1:")
    drained = next(line for line in lines if line["method"] == "DrainNode")
    assert drained["actor"] == "user/ci" and not drained["allowed"] and drained["reason"] == "ACCESS_DENIED"
    assert drained["rule"] == "no grant" and drained["proof"] == "token" and drained["credential"] == "ci"
    assert any(line["method"] == "GetNode" and line["rule"].startswith("grants[0]: admin on **") for line in lines)
    assert not any(line["method"] == "Heartbeat" for line in lines)
    assert not any(line.get("actor") == "user/x" for line in lines)
    # Events carry it, too; what the server does by itself has nobody.
    events = secured.api("user/admin").events.ListEvents(page_size=1000).events
    by = {event_pb2.Event.Kind.Name(event.kind): event.actor for event in events}
    assert by["MEMBER_JOINED"] == "node/n1" and by["VERSION_COMMITTED"] == "user/admin" and by["PLAN_APPLIED"] == ""


def test_where_the_audit_log_is_full_nothing_is_changed(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    admin = secured.set_up()
    kept = secured.audit.rename(secured.audit.with_suffix(".1"))
    secured.audit.symlink_to("/dev/full")

    def refused():
        try:
            admin.assemblies.UpdateAssembly(assembly={"name": ASSEMBLY, "min_nodes": 1}, update_mask={"paths": ["min_nodes"]})
        except ApiError as error:
            return error.reason == "AUDIT_FAILED"
        return False

    eventually(refused, "mutations are refused")
    admin.nodes.ListNodes()
    assert secured.cluster.server.output().count("audit=failed") == 1
    secured.audit.unlink()
    eventually(lambda: not refused(), "mutations are taken again")
    assert "audit=works" in secured.cluster.server.output()
    assert kept.exists() and any(line["method"] == "UpdateAssembly" for line in secured.audited())


# --- by the command, and by real agents


def test_the_loop_with_identities(new_cluster, authority, monkeypatch, tmp_path):
    secured = Secured(new_cluster(), authority)
    cluster = secured.cluster
    for name, value in secured.environment("user/admin").items():
        monkeypatch.setenv(name, value)
    source = checkpoints.write_safetensors(tmp_path / "model.safetensors", checkpoints.transformer(layers=1))
    cluster.publish(source, "llama@v1", shards=3)
    cluster.create_assembly("demo", "llama@v1", min_nodes=3)
    agents = []
    for name in ("n1", "n2", "n3"):
        pair = node(authority, name)
        agents.append(cluster.start_agent(name, "demo", "--tls-cert", pair.certificate, "--tls-key", pair.key))
    cluster.wait_ready("demo")
    # A node is itself only: with another one's certificate it gets nowhere, and says so.
    thief = cluster.start_agent("n4", "demo", "--tls-cert", node(authority, "n1").certificate, "--tls-key", node(authority, "n1").key)
    eventually(lambda: "node/n1 may not report nodes/n4" in thief.output(), "the thief is told")

    cluster.kill_server()
    cluster.start_server()
    eventually(lambda: cluster.muster("status", "demo", "--json").json()["assembly"]["state"] == "READY", "READY again")
    assert all(agent.running() for agent in agents)
    denied = cluster.muster("nodes", "drain", "n1", env=secured.environment("user/reader"), check=False)
    assert denied.code == 1 and "user/reader may not" in denied.stderr and "grants of yours: reader on **" in denied.stderr


def test_plaintext_stays_open_and_a_policy_needs_tls(cluster, tmp_path):
    assert cluster.api().access.WhoAmI().who == "local"
    assert cluster.api().access.CheckAccess(verb="admin", resource="").allowed
    done = subprocess.run(
        [binary("musterd"), "--data-dir", tmp_path / "data", "--policy", "x"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and "--tls-cert" in done.stderr


def test_who_am_i_and_what_may_i(new_cluster, authority):
    secured = Secured(new_cluster(), authority, groups={"team": ["user/reader"]})
    me = secured.api("user/reader").access.WhoAmI()
    assert me.who == "user/reader" and me.proof == "certificate" and me.expires.seconds > time.time()
    assert list(me.groups) == ["team"] and list(me.grants) == ["reader on **"] and len(me.policy) == 64
    assert secured.api("anonymous").access.WhoAmI().who == "anonymous"
    check = secured.api("user/reader").access.CheckAccess
    assert check(verb="read", resource=VERSION).allowed
    no = check(verb="delete", resource=VERSION)
    assert not no.allowed and "user/reader may not delete" in no.message
    for verb, resource in (("fly", VERSION), ("read", "models/llama"), ("read", "nodes/a b")):
        with pytest.raises(ApiError) as wrong:
            check(verb=verb, resource=resource)
        assert wrong.value.reason == "INVALID_FIELD"


def test_the_command_says_who_one_is_and_what_one_may_do(new_cluster, authority):
    secured = Secured(new_cluster(), authority)
    env = secured.environment("user/pub")

    told = secured.cluster.muster("whoami", env=env).stdout
    assert "user/pub" in told and "publisher on models/**" in told and "certificate" in told
    yes = secured.cluster.muster("can", "publish", "llama@v2", env=env)
    assert yes.stdout.startswith("yes: grants[3]: publisher on models/**")
    no = secured.cluster.muster("can", "delete", "llama@v2", env=env, check=False)
    assert no.code == 1 and "no: user/pub may not delete models/llama/versions/v2: no grant" in no.stderr
    assert secured.cluster.muster("can", "admin", "**", env=secured.environment("user/admin")).code == 0
    wrong = secured.cluster.muster("can", "fly", "llama@v2", env=env, check=False)
    assert wrong.code == 1 and "one of read, publish" in wrong.stderr


# --- a caller that means harm, as each identity


def state(admin):
    """All that there is, as far as it does not change by itself."""
    versions = admin.paged(admin.models.ListModelVersions, "model_versions")
    assemblies = admin.paged(admin.assemblies.ListAssemblies, "assemblies")
    found = {one.name: one.SerializeToString(deterministic=True) for one in [*versions, *assemblies]}
    # A lease runs out by itself.
    for one in admin.paged(admin.nodes.ListNodes, "nodes"):
        found[one.name] = f"{one.uid} {one.epoch} {one.address} {one.capacity_bytes} {sorted(one.labels.items())} {one.HasField('drain')}"
    return found


@pytest.mark.limit(240)
def test_hostile_calls_as_each_identity_change_nothing_beyond_its_rights(new_cluster, authority):
    grants = [*DEFAULT_GRANTS[:-1], grant("node/h0", "node", "assemblies/h0"), grant("user/mine", "publisher", "models/h1/**")]
    secured = Secured(new_cluster(), authority, "--lease-ttl", "1h", grants=grants)
    admin = secured.api("user/admin")
    publish(admin, "models/honest/versions/v1")
    admin.assemblies.CreateAssembly(
        assembly={"name": "assemblies/honest", "model_version": "models/honest/versions/v1", "policy": 1, "min_nodes": 1}
    )
    secured.api("node/honest").nodes.RegisterNode(node={"name": "nodes/honest"})
    for seed, (who, may_change) in enumerate({
        "anonymous": (), "user/reader": (), "token/ci": (), "node/h0": ("nodes/h0",), "user/mine": ("models/h1/",),
    }.items()):  # fmt: skip
        before = state(admin)
        barrage = Barrage(secured.cluster.address, CallMaker(seed), 20.0, secured.credentials(who))
        barrage.send(1_500)
        barrage.close()

        assert not barrage.problems, "\n".join(barrage.problems[:10])
        after = state(admin)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert all(name.startswith(may_change) if may_change else False for name in changed), (who, changed)
        # Who enrols may be anybody, as its token is judged by itself; and keys are told of although nothing changes.
        told = [line for line in secured.audited() if line["allowed"] and line["method"] not in ("Enrol", "GetContentKey")]
        allowed = {line["actor"] for line in told if line.get("actor") == who}
        assert bool(allowed) == bool(may_change), f"{who} changed something by the audit log"
