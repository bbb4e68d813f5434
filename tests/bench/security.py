#!/usr/bin/env python3
"""What a secured server costs beside an open one: calls, decisions, policies, idle watches.

Called by run.sh, which builds first. Prints a table; never fails because of a time.
"""

import json
import subprocess
import sys
import time

import group
from control_plane import GROUP_TIMEOUT_S, figure, ratio_of, unary_limit
from report import median, row
from servers import await_true

IN_FLIGHT = 256


def secured(bench, name, *args):
    server = bench.start_musterd(name, "--log-level", "error", "--secure", "--cluster-id", "bench", *args)
    return server, bench.directory / name / "tls/authority"


def calls(bench, settings):
    plain = bench.start_musterd("plain", "--log-level", "error")
    server, folder = secured(bench, "secured")
    command = [bench.bin / "bench/unary_benchmark", "--muster", plain.target, "--secured", server.target]
    command += ["--tls-folder", folder, "--in-flight", IN_FLIGHT, "--rounds", 2 if settings.quick else 9]
    command += ["--slice-ms", 400 if settings.quick else 1_000, "--only", "get_node,get_node_secured,report,report_secured"]
    slices = json.loads(bench.run("unary_benchmark", command, GROUP_TIMEOUT_S))
    rows = []
    for name in ("get_node", "report"):
        ratio = ratio_of(slices, f"{name}_secured", name, IN_FLIGHT)
        both = {one: figure(slices, one, IN_FLIGHT) for one in (f"{name}_secured", name)}
        baseline = f"{both[name]:.0f}/s in plaintext, {IN_FLIGHT} in flight, a connection each"
        limit = unary_limit(slices, f"{name}_secured", IN_FLIGHT)
        rows.append(row(f"{name}_secured_over_plain", ratio, "x", ">= 0.9", baseline, ratio, limit, per_second=both))
        more = figure(slices, f"{name}_secured", IN_FLIGHT, "server_us") - figure(slices, name, IN_FLIGHT, "server_us")
        rows.append(row(f"{name}_secured_more_cpu", more, "us of the server", "<= 8", "the same call in plaintext"))
    return rows


def decisions(bench, _settings):
    found = json.loads(bench.run("access_benchmark", [bench.bin / "bench/access_benchmark"], GROUP_TIMEOUT_S))
    return [row("authorise", found["us"], "us", "<= 1", "1,000 grants, 100,000 names, two rights a call", **found)]


class Muster:
    """The command as the admin, or as a user with a certificate of its own."""

    def __init__(self, bench, server, folder, who="admin"):
        self._command = [bench.bin / "bin/muster"]
        self._ends = ["--server", server.address, "--tls-ca", folder / "ca.crt"]
        own = folder
        if who != "admin":
            own = bench.directory / f"user-{who}"
            made = [bench.bin / "bin/muster", "certs", "issue", f"user/{who}", "--ca", folder, "--out", own]
            subprocess.run([str(part) for part in made], check=True, capture_output=True, timeout=60)
        self._ends += ["--tls-cert", own / f"{who}.crt", "--tls-key", own / f"{who}.key"]

    def start(self, *words):
        command = [str(part) for part in [*self._command, *words, *self._ends]]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def policy(bench, settings):
    """From the rename of the file to the end of a watch that it takes the right from."""
    server, folder = secured(bench, "policy")
    path = bench.directory / "policy/policy.json"
    base = json.loads(path.read_text(encoding="utf-8"))
    allows = {**base, "grants": [*base["grants"], {"who": "user/bob", "role": "reader", "on": ["**"]}]}
    denies = {**allows, "revoked": ["user/bob"]}
    bob = Muster(bench, server, folder, "bob")

    def put(text):
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps(text), encoding="utf-8")
        staged.rename(path)

    took = []
    for _ in range(2 if settings.quick else 7):
        put(allows)

        def follows():
            watch = bob.start("events", "--follow", "--json")
            time.sleep(0.3)
            if watch.poll() is None:
                return watch
            return None

        watch = None
        while watch is None:
            watch = follows()
        begin = time.monotonic()
        put(denies)
        await_true(lambda: watch.poll() is not None, "the watch ends", interval=0.002)
        took.append(time.monotonic() - begin)
    limit = "the server looks at the file each 0.25 s, and twice"
    return [row("revoked_watch_ends", median(took), "s", "<= 1", "", None, limit, rounds=took)]


def watches(bench, settings):
    import grpc  # pylint: disable=import-outside-toplevel

    count = 100 if settings.quick else 1_000
    used = {}
    for kind in ("plain", "secured"):
        if kind == "plain":
            server, credentials = bench.start_musterd("plain-watches", "--log-level", "error"), None
        else:
            server, folder = secured(bench, "secured-watches")
            ends = [(folder / name).read_bytes() for name in ("ca.crt", "admin.key", "admin.crt")]
            credentials = grpc.ssl_channel_credentials(*ends)
        before = server.resident_bytes()
        options = [("grpc.use_local_subchannel_pool", 1)]
        open_ones = []
        for _ in range(count):
            address = server.address
            channel = (
                grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
            )
            stream = channel.unary_stream("/muster.v1.EventService/WatchEvents")(b"", timeout=300)
            next(stream)
            open_ones.append((channel, stream))
        used[kind] = (server.resident_bytes() - before) / count / 1024
        for channel, _ in open_ones:
            channel.close()
        server.kill()
    more = used["secured"] - used["plain"]
    return [row("idle_watch_more_memory", more, "KiB", "<= 25", f"{used['plain']:.0f} KiB in plaintext, {count} watches", **used)]


PARTS = {
    "calls": (calls, [(f"{name}_secured_over_plain", "x", ">= 0.9") for name in ("get_node", "report")]),
    "decisions": (decisions, [("authorise", "us", "<= 1")]),
    "policy": (policy, [("revoked_watch_ends", "s", "<= 1")]),
    "watches": (watches, [("idle_watch_more_memory", "KiB", "<= 25")]),
}
NOT_MEASURED = [
    ("reconnects_10000", "s", "<= 60", "10,000 clients and a server on two cores measure the clients"),
    ("pull_https_over_http", "x", ">= 0.85", "the benchmark's nginx has no certificate yet"),
]


if __name__ == "__main__":
    sys.exit(group.run("Runs the benchmarks of a secured server.", PARTS, group.Settings, NOT_MEASURED))
