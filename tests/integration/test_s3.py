"""Shards on real servers of the S3 protocol: the store's contract, the whole loop, and what a user sees when a server refuses."""

import json
import random

import pytest
from fault_proxy import Answer, Cut, CutRequest, FaultProxy, Flip, FlipRequest, Late, Replace, Resize, Times
from fault_proxy import always, ever_since, first_of
from harness import checkpoints
from harness.remote_storage import (
    at_once,
    check_contract,
    check_loop,
    check_publishing_from,
    expect_only,
    publish_and_delete,
    publish_half,
    publish_raw,
    publish_that_fails,
    publish_the_rest,
    pull_that_fails,
    random_weights,
)
from harness.s3_servers import SECRET_KEY

PIECE = 8 << 20
PIECES = 8
SIZE = (PIECES - 1) * PIECE + 12_345

pytestmark = pytest.mark.usefixtures("s3")


@pytest.fixture(name="folder")
def make_folder(request):
    """A prefix of the bucket for one test."""
    return f"s3://models/{request.node.originalname}"


def the_shard(cluster):
    """Bucket, key and URI of the only shard."""
    uri = cluster.api().shards("llama", "v1")[0].locations[0].uri
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return bucket, key, uri


@pytest.mark.limit(600)
def test_the_store_keeps_its_contract():
    check_contract("s3")


@pytest.mark.limit(300)
def test_published_loaded_and_assembled(cluster, tmp_path, folder):
    check_loop(cluster, folder, tmp_path)
    assert SECRET_KEY not in cluster.show_logs()


@pytest.mark.limit(300)
def test_parts_are_pieces_and_the_etag_is_the_root(cluster, s3, big_file, tmp_path, folder):
    """Amazon's own client sees and reads what was published."""
    publish_raw(cluster, big_file, folder)
    bucket, key, uri = the_shard(cluster)
    shard = cluster.api().shards("llama", "v1")[0]
    head = json.loads(s3.aws("s3api", "head-object", "--bucket", bucket, "--key", key))
    assert head["ContentLength"] == SIZE
    assert head["ETag"].strip('"') == f"{shard.root}-{PIECES}"
    copy = tmp_path / "copy"
    s3.aws("s3", "cp", "--only-show-errors", uri, copy)
    assert checkpoints.md5_file(copy) == checkpoints.md5_file(big_file) == shard.md5


@pytest.mark.limit(300)
def test_a_gibibyte_in_parts_has_the_expected_etag(cluster, s3, tmp_path, folder):
    gibibyte = tmp_path / "weights.gguf"
    part = random.Random(29).randbytes(64 << 20)
    with gibibyte.open("wb") as file:
        for i in range(16):
            file.write(i.to_bytes(8, "big") + part[8:])
    publish_raw(cluster, gibibyte, folder)
    bucket, key, uri = the_shard(cluster)
    shard = cluster.api().shards("llama", "v1")[0]
    head = json.loads(s3.aws("s3api", "head-object", "--bucket", bucket, "--key", key))
    assert head["ContentLength"] == 1 << 30
    assert head["ETag"].strip('"') == f"{shard.root}-{(1 << 30) // PIECE}"
    copy = tmp_path / "copy"
    s3.aws("s3", "cp", "--only-show-errors", uri, copy)
    assert checkpoints.md5_file(copy) == checkpoints.md5_file(gibibyte) == shard.md5
    cluster.muster("models", "delete", "llama@v1", "--with-objects")


@pytest.mark.limit(300)
def test_a_worse_location_of_another_kind_takes_over(cluster, s3, big_file, tmp_path, folder):
    """The bucket fails half-way, and what is missing comes from a file."""
    publish_raw(cluster, big_file, folder)
    _, _, uri = the_shard(cluster)
    name = "models/llama/versions/v1"
    copy = cluster.store / "copy"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(big_file.read_bytes())
    cluster.api().models.AddLocations(
        name=name, entries=[{"shard": 0, "location": {"uri": f"file://{copy}", "priority": 9}}]
    )
    with FaultProxy(s3.address) as proxy:
        proxy.fault = lambda request: Answer(403) if request.number >= PIECES // 2 else None
        out = tmp_path / "out"
        done = cluster.muster("pull", "llama@v1", "--out", out, env={"AWS_ENDPOINT_URL": proxy.url})
    expect_only(out, big_file)
    assert uri in done.stderr, done


@pytest.mark.limit(240)
def test_a_wrong_byte_is_told_and_nothing_is_visible(cluster, s3, big_file, tmp_path, folder):
    """What else can go wrong on the way is tested over HTTP, which is the same code."""
    publish_raw(cluster, big_file, folder)
    out = tmp_path / "out"
    with FaultProxy(s3.address) as proxy:
        proxy.fault = lambda request: Flip(at=PIECE + 5)
        done = cluster.muster("pull", "llama@v1", "--out", out, env={"AWS_ENDPOINT_URL": proxy.url}, check=False)
    assert done.code == 1, done
    assert "MD5" in done.stderr and folder in done.stderr, done
    assert not out.exists() or not any(path.is_file() for path in out.rglob("*")), list(out.rglob("*"))


@pytest.mark.limit(300)
def test_a_model_in_a_bucket_is_published_from_there(cluster, s3, tmp_path, folder):
    source = checkpoints.write_hugging_face(tmp_path / "llama", checkpoints.transformer(layers=3))
    s3.aws("s3", "cp", "--only-show-errors", "--recursive", source, f"{folder}/llama")
    check_publishing_from(cluster, f"{folder}/llama/", source, tmp_path)

    # An object that was replaced is distinguished from the registered one before a byte is read.
    shard = cluster.api().shards("llama", "v3")[0]
    assert shard.locations[0].version, shard
    (tmp_path / "replaced").write_bytes(bytes(shard.size_bytes))
    s3.aws("s3", "cp", "--only-show-errors", tmp_path / "replaced", shard.locations[0].uri)
    done = cluster.muster("pull", "llama@v3", "--out", tmp_path / "out", "--shards", shard.index, check=False)
    assert done.code == 1 and "was replaced since it was registered" in done.stderr, done


def s3_error(status, code, *headers):
    return Answer(status, headers, f"<Error><Code>{code}</Code><Message>from the test</Message></Error>".encode())


# What a pull from the only location meets, and what its user gets to see.
BROKEN = {
    "cut in the first byte": (Cut(after=0), ["tried"]),
    "cut in the head": (Cut(after=30, of_head=True), ["tried"]),
    "too much": (Resize(by=100), ["announces"]),
    "a storm of 503": (s3_error(503, "SlowDown", "Retry-After: 3600"), ["SlowDown", "come back later"]),
    "expired credentials": (s3_error(400, "ExpiredToken"), ["ExpiredToken"]),
    "a clock that is wrong": (s3_error(403, "RequestTimeTooSkewed"), ["RequestTimeTooSkewed", "clock"]),
    "a wrong region": (
        s3_error(400, "AuthorizationHeaderMalformed", "x-amz-bucket-region: eu-west-1"),
        ["AuthorizationHeaderMalformed", "eu-west-1"],
    ),
    "denied": (s3_error(403, "AccessDenied"), ["AccessDenied"]),
    "deleted after it was looked at": (s3_error(404, "NoSuchKey"), ["NoSuchKey"]),
    "a redirect loop": (Answer(307, ("Location: /models/again",)), ["redirects elsewhere", "AWS_REGION"]),
}


@pytest.mark.limit(600)
@pytest.mark.parametrize("s3_server", ["versity"], indirect=True)  # What breaks is the proxy, whatever is behind it.
def test_what_breaks_on_the_way_is_told(cluster, s3, big_file, tmp_path, folder):
    publish_raw(cluster, big_file, folder)

    def check(what, fault, told):
        with FaultProxy(s3.address, lambda request: fault if request.first is not None else None) as proxy:
            done = pull_that_fails(cluster, tmp_path / what, {"AWS_ENDPOINT_URL": proxy.url}, what, [folder, *told])
        assert SECRET_KEY not in done.text

    at_once(check, [(what, *case) for what, case in BROKEN.items()])
    # Here something arrives each time, and the next attempt asks for the rest.
    out = tmp_path / "out"
    with FaultProxy(s3.address, lambda request: Cut(after=1_000_003) if request.first is not None else None) as proxy:
        cluster.muster("pull", "llama@v1", "--out", out, env={"AWS_ENDPOINT_URL": proxy.url})
    expect_only(out, big_file)


def passing_faults():
    """What an upload of three parts gets over, by what it is called."""
    return {
        "cuts": [
            Times(1, "?uploads=", Cut(after=30)),
            Times(1, "partNumber=1", CutRequest(after=3_000_003)),
            Times(1, "partNumber=2", Cut(after=0, of_head=True)),
            Times(1, "partNumber=3", CutRequest(after=0)),
            Times(1, "?uploadId=", Cut(after=20)),
        ],
        "storms": [
            Times(2, "?uploads=", s3_error(503, "SlowDown")),
            Times(1, "partNumber=1", s3_error(503, "SlowDown", "Retry-After: 1")),
            Times(1, "partNumber=2", Late(seconds=1)),
            Times(1, "?uploadId=", s3_error(503, "ServiceUnavailable")),
        ],
        "wrong bytes": [Times(1, "partNumber=2", FlipRequest(at=1_000_003))],
    }


@pytest.fixture(name="three_parts", scope="module")
def make_three_parts(tmp_path_factory):
    """The last part is so short that a connection over which it goes does not count as alive."""
    return random_weights(tmp_path_factory.mktemp("parts"), 2 * PIECE + 500, 29)


def expect_nothing_stored(s3):
    """Neither objects nor parts that nobody sees."""
    uploads = s3.aws("s3api", "list-multipart-uploads", "--bucket", "models", "--query", "Uploads || `[]`")
    assert json.loads(uploads) == []
    assert "llama" not in s3.aws("s3api", "list-objects-v2", "--bucket", "models", "--prefix", "uploads/")


@pytest.mark.limit(300)
def test_uploads_get_over_what_passes(cluster, s3, three_parts):
    with FaultProxy(s3.address) as proxy:
        for what, faults in passing_faults().items():
            proxy.fault = first_of(*faults)
            publish_and_delete(cluster, three_parts, "s3://models/uploads", {"AWS_ENDPOINT_URL": proxy.url})
            assert [fault.where for fault in faults if fault.left] == [], what
    expect_nothing_stored(s3)


ETAG_OF_A_PART = rb'(?i)(etag: "?)[0-9a-f]{32}'
ETAG_OF_THREE_PARTS = rb"[0-9a-f]{32}-3"
WRONG = b"0" * 32

# What a publication meets, and what its user gets to see.
BREAKS_UPLOADS = {
    "expired credentials": (always("partNumber=2", s3_error(403, "ExpiredToken")), ["ExpiredToken", "get others"]),
    "denied": (always("PUT", s3_error(403, "AccessDenied")), ["AccessDenied", "policy"]),
    "503 for ever": (
        always("partNumber=2", s3_error(503, "SlowDown", "Retry-After: 3600")),
        ["SlowDown", "come back later"],
    ),
    "no quota left": (always("partNumber=2", s3_error(403, "QuotaExceeded")), ["QuotaExceeded", "used up"]),
    "a redirect loop": (always("PUT", Answer(307, ("Location: /models/again",))), ["redirects elsewhere", "AWS_REGION"]),
    "a stall": (always("partNumber=3", Late(seconds=3600)), ["stalled", "hint: the storage does not answer"]),
    "a wrong ETag of a part": (
        always("partNumber=2", Replace(ETAG_OF_A_PART, rb"\g<1>" + WRONG)),
        ["part 2", "expected ETag", "changed on their way"],
    ),
    "a wrong ETag of the object": (
        always("POST", Replace(ETAG_OF_THREE_PARTS, WRONG + b"-3")),
        ["expected ETag", WRONG.decode(), "changed on their way"],
    ),
}


@pytest.mark.limit(300)
@pytest.mark.parametrize("s3_server", ["versity"], indirect=True)
def test_what_breaks_an_upload_is_told_and_taken_back(cluster, s3, three_parts):
    folder = "s3://models/uploads"
    with FaultProxy(s3.address) as proxy:
        for what, (proxy.fault, told) in BREAKS_UPLOADS.items():
            environment = {"AWS_ENDPOINT_URL": proxy.url}
            done = publish_that_fails(cluster, three_parts, folder, environment, what, [folder, *told])
            assert SECRET_KEY not in done.text
    publish_and_delete(cluster, three_parts, folder, {})
    expect_nothing_stored(s3)


@pytest.mark.limit(300)
@pytest.mark.parametrize("s3_server", ["versity"], indirect=True)
def test_credentials_that_expire_half_way_cost_no_shard(cluster, s3, three_parts):
    folder = "s3://models/uploads"
    with FaultProxy(s3.address, ever_since("shard-00001", s3_error(403, "ExpiredToken"))) as proxy:
        done = publish_half(cluster, three_parts, folder, {"AWS_ENDPOINT_URL": proxy.url}, [folder, "ExpiredToken", "get others"])
    assert SECRET_KEY not in done.text
    publish_the_rest(cluster, three_parts, folder)
    expect_nothing_stored(s3)


# Where `muster` publishes to, what differs in its environment, and what it then says: servers' words differ.
REFUSALS = {
    "a missing bucket": ("s3://no-such-bucket/x", {}, ["NoSuchBucket"]),
    "a wrong secret": ("s3://models/x", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ["SignatureDoesNotMatch"]),
    "an unknown key": ("s3://models/x", {"AWS_ACCESS_KEY_ID": "nobody"}, ["InvalidAccessKeyId", "No user exists"]),
    "no credentials": ("s3://models/x", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["AWS_ACCESS_KEY_ID"]),
    "nobody there": ("s3://models/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, ["127.0.0.1"]),
    "a bad bucket name": ("s3://a/x", {}, ["a"]),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_name_the_cause(cluster, big_file, refusal):
    folder, environment, told = REFUSALS[refusal]
    done = publish_raw(cluster, big_file, folder, env=environment, check=False)
    assert done.code in (1, 2), done
    assert any(words in done.stderr for words in told), done
    assert SECRET_KEY not in done.text
    assert cluster.muster("models", "list", "--json").json()["items"] == []
