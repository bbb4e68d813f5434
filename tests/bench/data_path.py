#!/usr/bin/env python3
"""The benchmarks of the data path: what verifying costs, beside the same bytes unverified, in one run.

Called by run.sh, which builds first. Prints a table; never fails because of a time.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import report
from report import median, not_measured, row
from servers import Bench, await_true, free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
GROUP_TIMEOUT_S = 1200.0
TMPFS = {"tmpfs", "ramfs"}
GIB = 1 << 30


class Settings:
    """How much is done."""

    def __init__(self, arguments):
        self.quick = arguments.quick
        self.size_bytes = int(arguments.size_gib * GIB) if arguments.size_gib else (GIB // 2 if self.quick else 4 * GIB)
        self.rounds = 2 if self.quick else 5
        self.shards = 8


class Checkpoint:
    """A sample checkpoint and its published shards, made once for all parts."""

    def __init__(self, bench, settings):
        self.source = bench.directory / "source.safetensors"
        self.destination = bench.directory / "published"
        muster = bench.bin / "bin" / "muster"
        bench.run("sample", [muster, "sample", "--out", self.source, "--size", settings.size_bytes], GROUP_TIMEOUT_S)
        os.sync()
        server = bench.start_musterd("catalogue")
        begin = time.monotonic()
        bench.run(
            "publish",
            [muster, "publish", self.source, "--server", server.address, "--model", "bench@v1"]
            + ["--to", self.destination, "--strategy", "uniform", "--shards", settings.shards],
            GROUP_TIMEOUT_S,
        )
        self.publish_s = time.monotonic() - begin
        server.terminate()
        self.files = sorted(path for path in self.destination.rglob("shard-*") if path.is_file())
        self.size_bytes = sum(path.stat().st_size for path in self.files)


# --- MD5


def md5_rows(bench, settings):
    """The best number of inputs of each target; both sides on one core, by CPU time, in turns."""
    rounds = 3 if settings.quick else 9
    measured = json.loads(bench.run("md5", [bench.bin / "bench" / "md5_benchmark", "--rounds", rounds], GROUP_TIMEOUT_S))
    rows = []
    for name, targets, aim in MD5_AIMS:
        found = [measured["targets"][target] for target in targets if target in measured["targets"]]
        if not found:
            rows.append(not_measured(name, "x", aim, f"this machine has no {targets[0]}"))
            continue
        best = max(found[0], key=lambda one: one["ratio"])
        rows.append(
            row(
                name,
                best["ratio"],
                "x",
                aim,
                f"OpenSSL {best['openssl_gigabytes_per_second']:.2f} GB/s",
                best["ratio"],
                f"{best['gigabytes_per_second']:.2f} GB/s a core with {best['inputs']} inputs",
                by_inputs=found[0],
                chosen=measured["best"],
            )
        )
    return rows


MD5_AIMS = (
    ("md5_avx512", ("AVX3_ZEN4", "AVX3_DL", "AVX3"), ">= 8"),
    ("md5_avx2", ("AVX2",), ">= 4"),
    ("md5_sse4", ("SSE4",), ">= 2"),
)


# --- Encodings


def encoding_rows(bench, settings):
    """Ratio and speed of each encoding of bf16 weights of a normal distribution; one core, by CPU time."""
    size, rounds = (64, 3) if settings.quick else (256, 5)
    command = [bench.bin / "bench" / "encoding_benchmark", "--size-mib", size, "--rounds", rounds]
    measured = json.loads(bench.run("encoding", command, GROUP_TIMEOUT_S))
    rows = []
    for name, found in measured["encodings"].items():
        over = found["decode"] / measured["zstd_d"]
        rows.append(
            row(
                "encoding_" + name.replace("-", "_").replace("+", "_"),
                found["ratio"],
                "of the bytes",
                "",
                f"zstd -d {measured['zstd_d']:.2f} GB/s, memcpy {measured['memcpy']:.2f} GB/s",
                over,
                f"a core decodes {found['decode']:.2f} and encodes {found['encode']:.2f} GB/s of content; "
                f"all cores decode {found['decode_all_cores']:.2f} GB/s with MD5s",
                found=found,
            )
        )
    return rows


# --- Pulls into memory


def pulled(bench, checkpoint, settings, *args):
    command = [bench.bin / "bench" / "pull_benchmark", "--rounds", settings.rounds, *args, *checkpoint.files]
    return json.loads(bench.run("pull", command, GROUP_TIMEOUT_S))


def pull_row(name, measured, aim, what):
    """The limit: what hashing takes on top where both sides are bound by the CPU."""
    rounds = measured["rounds"]
    ratio = median([one["unverified"]["seconds"] / one["verified"]["seconds"] for one in rounds])
    speeds = {
        side: median([measured["bytes"] / one[side]["seconds"] / 1e9 for one in rounds])
        for side in ("unverified", "verified")
    }
    cpu = {side: median([one[side]["cpu_seconds"] for one in rounds]) for side in speeds}
    return row(
        name,
        ratio,
        "x",
        aim,
        f"{what} {speeds['unverified']:.2f} GB/s",
        ratio,
        f"{speeds['verified']:.2f} GB/s; CPU {cpu['unverified']:.1f} s unverified, {cpu['verified']:.1f} s verified: "
        f"at most {cpu['unverified'] / cpu['verified']:.2f} where the CPU limits; {measured['target']}",
        rounds=rounds,
        bytes=measured["bytes"],
    )


def file_rows(bench, checkpoint, settings):
    measured = pulled(bench, checkpoint, settings)
    last = median([one["verified"]["seconds"] for one in measured["rounds"]])
    first = median([one["verified"]["first_shard_seconds"] for one in measured["rounds"]])
    return [
        pull_row("verified_over_unverified_file", measured, ">= 0.33", "read into memory"),
        row("first_shard_over_last", first / last, "x", "", f"last {last:.2f} s", first / last, f"first {first:.2f} s"),
    ]


def disk_rows(bench, checkpoint, settings):
    measured = pulled(bench, checkpoint, settings, "--cold")
    return [pull_row("verified_over_unverified_disk", measured, ">= 0.95", "read from disk")]


NGINX_TEMPORARIES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """Debian's nginx, serving a directory on a free loopback port."""

    def __init__(self, bench, directory):
        if shutil.which("nginx") is None:
            raise RuntimeError("nginx is not installed")
        port = free_ports(1)[0]
        self.uri = f"http://127.0.0.1:{port}"
        home = bench.directory / "nginx"
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(
            ("user root;\n" if os.getuid() == 0 else "")
            + f"daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log;\n"
            + "events { worker_connections 256; }\n"
            + "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n"
            + "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in NGINX_TEMPORARIES)
            + f"server {{ listen 127.0.0.1:{port}; root {directory}; }} }}\n",
            encoding="utf-8",
        )
        process = bench.spawn("nginx", ["nginx", "-p", home, "-c", config])

        def serving():
            if process.poll() is not None:
                raise RuntimeError(f"nginx ended: {(bench.directory / 'nginx.log').read_text()[-500:]}")
            return subprocess.run(["curl", "-s", "-o", "/dev/null", self.uri], check=False).returncode == 0

        await_true(serving, "nginx serves")


def http_rows(bench, checkpoint, settings):
    nginx = Nginx(bench, checkpoint.files[0].parent)
    measured = pulled(bench, checkpoint, settings, "--base-uri", nginx.uri)
    aim = ">= 0.8" if measured["target"].startswith("AVX3") else ">= 0.6"
    rows = [pull_row("verified_over_unverified_http", measured, aim, "fetched into memory")]
    muster_s = median([one["verified"]["seconds"] for one in measured["rounds"]])
    plain_s, parallel_s = [], []
    for _ in range(settings.rounds):
        fetch_s, one_s, cores_s = fetch_then_md5sum(checkpoint, nginx.uri)
        plain_s.append(fetch_s + one_s)
        parallel_s.append(fetch_s + cores_s)
    rows.append(
        row(
            "over_fetch_then_md5sum",
            median(plain_s) / muster_s,
            "x",
            ">= 2.5",
            f"curl, then md5sum {median(plain_s):.1f} s",
            median(plain_s) / muster_s,
            f"verified pull {muster_s:.1f} s; with an md5sum per core {median(parallel_s):.1f} s",
            seconds=plain_s,
            seconds_md5sum_per_core=parallel_s,
        )
    )
    return rows


def fetch_then_md5sum(checkpoint, uri):
    """All files at once into memory, then their MD5s: seconds of the fetch, of one md5sum, of one per core."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/dev/shm") as directory:
        urls = [part for path in checkpoint.files for part in ("-o", f"{directory}/{path.name}", f"{uri}/{path.name}")]
        begin = time.monotonic()
        # What it shows of its progress, -s or not, is kept for an error.
        subprocess.run(["curl", "-sS", "--fail", "--parallel", *urls], check=True, capture_output=True)
        fetched = time.monotonic()
        names = sorted(str(path) for path in pathlib.Path(directory).iterdir())
        subprocess.run(["md5sum", *names], check=True, stdout=subprocess.DEVNULL)
        summed = time.monotonic()
        command = ["xargs", "-0", "-n1", f"-P{os.cpu_count()}", "md5sum"]
        subprocess.run(command, input="\0".join(names), text=True, check=True, stdout=subprocess.DEVNULL)
        return fetched - begin, summed - fetched, time.monotonic() - summed


# --- S3 and HDFS

S3_SERVERS = ("ceph", "versity")
S3_CLIENTS = ("aws_cp", "rclone")
S3_ROWS = [(f"over_{client}_{server}", "x", ">= 2") for server in S3_SERVERS for client in S3_CLIENTS]
HDFS_ROWS = [("over_hdfs_get", "x", ">= 2")]
PYTHON = ROOT / "build/venv/bin/python"


class StorageServer:
    """One of the integration tests' servers, which prints one line of JSON once it serves."""

    def __init__(self, module, *args):
        self._process = subprocess.Popen(
            [PYTHON, "-m", f"harness.{module}", *map(str, args)],
            cwd=ROOT / "tests/integration",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.told = json.loads(self._process.stdout.readline() or "{}")
        # Without the settings that the machine has for AWS itself.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    def run(self, command):
        command = [str(part) for part in command]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def stop(self):
        self._process.stdin.close()
        self._process.wait(60)


def copy_then_md5sum(server, command, paths):
    """Seconds until `command`, which gets a directory, has copied all into memory, and until md5sum has read them."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/dev/shm") as directory:
        begin = time.monotonic()
        server.run(command(directory))
        copied = time.monotonic() - begin
        server.run(["md5sum", *(pathlib.Path(directory) / path.name for path in paths)])
        return copied, time.monotonic() - begin


def storage_rows(bench, checkpoint, settings, server, uri, clients):
    """A row for each of `clients`, commands by the row's name, beside pulls from the folder `uri` of `server`."""
    pull = [bench.bin / "bench" / "pull_benchmark", "--rounds", "1", "--base-uri", uri, *checkpoint.files]
    turns = []
    try:
        for _ in range(settings.rounds):
            turn = {"ours": json.loads(server.run(pull))["rounds"][0]}
            turns.append(turn | {one: copy_then_md5sum(server, clients[one], checkpoint.files) for one in clients})
    finally:
        server.stop()
    return [storage_row(name, turns) for name in clients]


def storage_row(name, turns):
    ratio = median([one[name][1] / one["ours"]["verified"]["seconds"] for one in turns])
    copied_s, summed_s = (median([one[name][part] for one in turns]) for part in (0, 1))
    ours_s, bare_s = (median([one["ours"][side]["seconds"] for one in turns]) for side in ("verified", "unverified"))
    return row(
        name,
        ratio,
        "x",
        ">= 2",
        f"the copy {copied_s:.1f} s, with md5sum {summed_s:.1f} s",
        ratio,
        f"verified pull {ours_s:.1f} s, unverified {bare_s:.1f} s: what the server gives",
        turns=turns,
    )


def s3_rows(bench, checkpoint, settings):
    subprocess.run([ROOT / "tests/setup_tools.sh"], check=True, stdout=subprocess.DEVNULL)
    return [one for name in S3_SERVERS for one in rows_of_s3_server(bench, checkpoint, settings, name)]


def rows_of_s3_server(bench, checkpoint, settings, name):
    server = StorageServer("s3_servers", name, bench.directory / name)
    server.environment |= server.told
    server.environment |= {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Ceph" if name == "ceph" else "Other",
        "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
        "RCLONE_CONFIG_BENCH_ENDPOINT": server.told["AWS_ENDPOINT_URL"],
        "RCLONE_CONFIG_BENCH_REGION": server.told["AWS_REGION"],
    }
    aws, uri = [PYTHON.parent / "aws"], "s3://bench/shards"
    server.run([*aws, "s3api", "create-bucket", "--bucket", "bench"])
    for path in checkpoint.files:
        server.run([*aws, "s3", "cp", "--only-show-errors", path, f"{uri}/{path.name}"])
    clients = {
        f"over_aws_cp_{name}": lambda to: [*aws, "s3", "cp", "--recursive", "--only-show-errors", uri, to],
        f"over_rclone_{name}": lambda to: ["rclone", "copy", "--transfers", "8", "bench:bench/shards", to],
    }
    return storage_rows(bench, checkpoint, settings, server, uri, clients)


def hdfs_rows(bench, checkpoint, settings):
    subprocess.run([ROOT / "tests/setup_tools.sh"], check=True, stdout=subprocess.DEVNULL)
    server = StorageServer("hdfs_server", bench.directory / "hdfs")
    server.environment |= server.told["environment"]
    shell, uri = server.told["shell"], server.told["uri"]
    server.run([*shell, "-mkdir", "-p", uri])
    server.run([*shell, "-put", *checkpoint.files, uri])
    files = [f"{uri}/{path.name}" for path in checkpoint.files]
    return storage_rows(bench, checkpoint, settings, server, uri, {"over_hdfs_get": lambda to: [*shell, "-get", *files, to]})


# --- Publishing


def publish_rows(bench, checkpoint, settings):
    """The same bytes written from memory and synced; the publication reads, hashes twice and writes."""
    del settings
    target = bench.directory / "written"
    chunk = memoryview(os.urandom(8 << 20))
    begin = time.monotonic()
    with open(target, "wb", buffering=0) as file:
        left = checkpoint.size_bytes
        while left > 0:
            left -= file.write(chunk[: min(left, len(chunk))])
        os.fsync(file.fileno())
    write_s = time.monotonic() - begin
    target.unlink()
    ratio = write_s / checkpoint.publish_s
    return [
        row(
            "publish_over_write",
            ratio,
            "x",
            "",
            f"writing and syncing {checkpoint.size_bytes / write_s / 1e9:.2f} GB/s",
            ratio,
            f"one pass, {checkpoint.size_bytes / checkpoint.publish_s / 1e9:.2f} GB/s",
        )
    ]


# --- Loading as tensors

LOADED_SHARDS = 4
# The interpreter that Debian's python3-torch is for, whatever runs this.
DEBIAN_PYTHON = "/usr/bin/python3"
TORCH_LOAD = pathlib.Path(__file__).resolve().parent / "torch_load.py"
MEMORY_LOOK_S = 0.005


def missing_torch():
    """Installs python3-torch where it is missing; returns why it can't be had, or nothing."""
    command = [ROOT / "deploy/install_packages.sh", ROOT / "tests/packages-torch.txt"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        return f"python3-torch can't be installed: {installed.stderr.strip().splitlines()[-1][:200]}"
    imported = subprocess.run([DEBIAN_PYTHON, "-c", "import torch"], capture_output=True, text=True, check=False)
    return "" if imported.returncode == 0 else "python3-torch can't be imported"


def private_bytes(pid):
    """Anonymous and shared memory of a process, without mapped files; shared memory counts also where it is not mapped."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        files = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
    kib = {line.split()[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Rss")}
    shared = 0
    for file in files:
        try:
            if os.readlink(file).startswith("/memfd:"):
                shared += file.stat().st_blocks * 512
        except OSError:
            continue
    return kib.get("RssAnon:", 0) * 1024 + max(kib.get("RssShmem:", 0) * 1024, shared)


def run_and_watch_memory(bench, name, command):
    """What a program printed as JSON, with `peak_bytes`: the most memory that it was seen to have."""
    process = bench.spawn(name, command, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, private_bytes(process.pid))
        time.sleep(MEMORY_LOOK_S)
    if process.returncode != 0:
        log = (bench.directory / f"{name}.log").read_text(encoding="utf-8")
        raise RuntimeError(f"{name} ended with {process.returncode}: {log.strip()[-500:]}")
    return {**json.loads(process.stdout.read()), "peak_bytes": peak}


def run_on_warm_memory(bench, name, command):
    """The second of two runs: a virtual machine may first have to get the memory back from its host."""
    first = run_and_watch_memory(bench, name, command)
    second = run_and_watch_memory(bench, name, command)
    return {**second, "peak_bytes": max(first["peak_bytes"], second["peak_bytes"]), "cold_seconds": first["seconds"]}


def torch_files(bench, shards):
    """The same tensors as torch saves them, as PATH=MD5."""
    arguments = []
    for i, shard in enumerate(shards):
        path = bench.directory / f"shard-{i}.pt"
        bench.run("torch_load", [DEBIAN_PYTHON, TORCH_LOAD, "write", shard, path], GROUP_TIMEOUT_S)
        with open(path, "rb") as file:
            arguments.append(f"{path}={hashlib.file_digest(file, 'md5').hexdigest()}")
    return arguments


def load_rows(bench, checkpoint, settings):
    """Both sides load into memory of their own, each turn in a process of its own, timed inside of it."""
    reason = missing_torch()
    if reason:
        return [not_measured(*what, reason) for what in PARTS["load"][1]]
    server = bench.start_musterd("catalogue")
    indices = ",".join(str(i) for i in range(LOADED_SHARDS))
    arguments = torch_files(bench, checkpoint.files[:LOADED_SHARDS])
    muster = [bench.bin / "bench" / "load_benchmark", "--server", server.address, "--model", "bench@v1"]
    sides = {
        "muster": [*muster, "--shards", indices],
        "shared": [*muster, "--shards", indices, "--shared"],
        "cache": [*muster, "--shards", indices, "--cache", bench.directory / "load-cache"],
        "python": [DEBIAN_PYTHON, TORCH_LOAD, "load", *arguments],
    }
    # The first turn brings everything into the page cache, and the shards into ours.
    turns = [
        {side: run_on_warm_memory(bench, side, command) for side, command in sides.items()}
        for _ in range(settings.rounds + 1)
    ][1:]
    server.terminate()
    for argument in arguments:
        pathlib.Path(argument.rsplit("=", 1)[0]).unlink()
    return [load_speed_row(turns), load_memory_row(turns)]


def load_speed_row(turns):
    size = turns[0]["muster"]["bytes"]
    ratio = median([one["python"]["seconds"] / one["muster"]["seconds"] for one in turns])
    speed = {side: size / median([one[side]["seconds"] for one in turns]) / 1e9 for side in turns[0]}
    cpu = {side: median([one[side]["cpu_seconds"] for one in turns]) for side in turns[0]}
    cold = {side: median([one[side]["cold_seconds"] for one in turns]) for side in turns[0]}
    return row(
        "load_over_python",
        ratio,
        "x",
        ">= 10",
        f"torch.load, then MD5 {speed['python']:.2f} GB/s",
        ratio,
        f"{speed['muster']:.2f} GB/s, into shared memory {speed['shared']:.2f}, "
        f"mapped from our cache {speed['cache']:.0f}; CPU {cpu['python']:.1f} s Python, "
        f"{cpu['muster']:.1f} s ours: at most {cpu['python'] / cpu['muster']:.1f} where the CPU limits; "
        f"first runs {cold['python']:.1f} s and {cold['muster']:.1f} s; "
        f"{turns[0]['muster']['target']}",
        turns=turns,
    )


def load_memory_row(turns):
    """The worst turn of the worse of our two ways."""
    size = turns[0]["muster"]["bytes"]
    peak = {side: max(one[side]["peak_bytes"] for one in turns) / size for side in turns[0]}
    ours = max(peak["muster"], peak["shared"])
    return row(
        "load_peak_memory",
        ours,
        "x",
        "<= 1.1",
        f"Python {peak['python']:.2f} x",
        ours / peak["python"],
        f"private {peak['muster']:.3f}, shared {peak['shared']:.3f} x the shards' bytes",
        turns=turns,
    )


# --- From the source to the last tensor

READ_TENSORS = """
import pathlib, sys, safetensors
for path in pathlib.Path(sys.argv[1]).rglob("*.safetensors"):
    for _name, tensor in safetensors.deserialize(path.read_bytes()):
        assert tensor["data"]
"""


def drop_from_page_cache(paths):
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def end_to_end_rows(bench, checkpoint, settings):
    """A cold source, a local copy, and every tensor read from that by Python's safetensors; the copy also with a sync."""
    subprocess.run([ROOT / "tests/setup_tools.sh"], check=True, stdout=subprocess.DEVNULL)
    server = bench.start_musterd("catalogue")
    out = bench.directory / "local"
    ways = {
        "muster": [[bench.bin / "bin" / "muster", "pull", "bench@v1", "--server", server.address, "--out", out]],
        "cp": [["cp", "-r", checkpoint.files[0].parent, out]],
        "cp_synced": [["cp", "-r", checkpoint.files[0].parent, out], ["sync", "-f", out]],
    }
    seconds = {way: [] for way in ways}
    for _ in range(settings.rounds):
        for way, commands in ways.items():
            drop_from_page_cache(checkpoint.files)
            begin = time.monotonic()
            for command in [*commands, [ROOT / "build/venv/bin/python", "-c", READ_TENSORS, out]]:
                bench.run(way, command, GROUP_TIMEOUT_S)
            seconds[way].append(time.monotonic() - begin)
            shutil.rmtree(out)
            os.sync()
    server.terminate()
    ours, copied, synced = (median(seconds[way]) for way in ways)
    return [
        row(
            "end_to_end_over_copy",
            copied / ours,
            "x",
            ">= 1.5",
            f"cp -r, unverified and unsynced {copied:.1f} s",
            copied / ours,
            f"{ours:.1f} s, verified and synced; over cp -r and sync {synced / ours:.2f}",
            seconds=seconds,
        )
    ]


PARTS = {
    "end": (end_to_end_rows, [("end_to_end_over_copy", "x", ">= 1.5")]),
    "file": (file_rows, [("verified_over_unverified_file", "x", ">= 0.33"), ("first_shard_over_last", "x", "")]),
    "disk": (disk_rows, [("verified_over_unverified_disk", "x", ">= 0.95")]),
    "http": (
        http_rows,
        [("verified_over_unverified_http", "x", ">= 0.6"), ("over_fetch_then_md5sum", "x", ">= 2.5")],
    ),
    "load": (load_rows, [("load_over_python", "x", ">= 10"), ("load_peak_memory", "x", "<= 1.1")]),
    "publish": (publish_rows, [("publish_over_write", "x", "")]),
    "s3": (s3_rows, S3_ROWS),
    "hdfs": (hdfs_rows, HDFS_ROWS),
}


# Parts that need no checkpoint.
ALONE = {"md5": md5_rows, "encoding": encoding_rows}


def parse_arguments():
    parser = argparse.ArgumentParser(description="Runs the benchmarks of the data path.")
    parser.add_argument("--bin-dir", required=True, help="the build's directory")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size-gib", type=float, help="of the checkpoint (default: 4, with --quick 0.5)")
    parser.add_argument("--work-dir", default=None, help="where checkpoint and shards go")
    parser.add_argument("--only", default=",".join([*ALONE, *PARTS]), help="parts of the group")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    unknown = set(arguments.only) - {*ALONE, *PARTS}
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join([*ALONE, *PARTS])}")
    return arguments


def measure(bench, settings, only):
    """The rows, and whether a part broke."""
    rows, broke = [], False
    for name, rows_of in ALONE.items():
        if name in only:
            rows += rows_of(bench, settings)
    parts = [name for name in PARTS if name in only]
    if parts:
        checkpoint = Checkpoint(bench, settings)
    for name in parts:
        rows_of, promised = PARTS[name]
        begin = time.monotonic()
        try:
            rows += rows_of(bench, checkpoint, settings)
        except Exception as error:  # pylint: disable=broad-except
            broke = True
            rows += [not_measured(*what, f"broke: {error}") for what in promised]
        print(f"[{time.monotonic() - begin:4.0f}s] {name} done", file=sys.stderr, flush=True)
    return rows, broke


def main():
    arguments = parse_arguments()
    settings = Settings(arguments)
    work_dir = arguments.work_dir or tempfile.gettempdir().replace("/tmp", "/var/tmp", 1)
    facts = report.machine(work_dir)
    print(report.machine_line(facts), flush=True)
    if facts["file_system"] in TMPFS:
        print(f"{work_dir} is in memory: name a real disk with --work-dir", file=sys.stderr)
        return 1
    bench = Bench(arguments.bin_dir, work_dir)
    try:
        rows, broke = measure(bench, settings, arguments.only)
    finally:
        bench.close()
    report.publish(rows, facts, settings.quick, arguments.json)
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
