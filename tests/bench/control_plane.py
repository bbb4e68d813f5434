#!/usr/bin/env python3
"""The benchmarks of the control plane: real servers, one run, ratios against what runs beside it.

Called by run.sh, which builds first. Prints a table; never fails because of a time.
"""

import json
import sys
import time

import group
import recovery
from report import median, not_measured, row

GROUP_TIMEOUT_S = 240.0


class Settings:
    """How much is done."""

    def __init__(self, quick):
        self.quick = quick
        self.rounds = 2 if quick else 7
        self.slice_ms = 400 if quick else 1_000
        self.in_flight = (1, 64, 256)
        self.watchers = 2_000 if quick else 10_000
        self.events = 3 if quick else 9
        self.versions = 50 if quick else 1_000
        self.kills = 1 if quick else 3


# --- unary calls


def ratio_of(slices, name, base, in_flight):
    """Median of the ratios of neighbouring slices, so that other load on the machine falls on both."""
    pairs = zip(slices[name][str(in_flight)], slices[base][str(in_flight)])
    return median([one["per_second"] / other["per_second"] for one, other in pairs])


def figure(slices, name, in_flight, key="per_second"):
    return median([one[key] for one in slices[name][str(in_flight)]])


def unary_limit(slices, name, in_flight):
    """Where the CPU of one call goes, as both cores are full."""
    server, client = (figure(slices, name, in_flight, key) for key in ("server_us", "client_us"))
    committer = figure(slices, name, in_flight, "committer_us")
    return f"CPU a call: server {server:.0f} us (committer {committer:.0f}), client {client:.0f} us"


def durable_row(slices, in_flight, name_suffix="", aim=""):
    ratios = {name: ratio_of(slices, name, "empty", in_flight) for name in ("report", "add_shard")}
    worse = min(ratios, key=ratios.get)
    calls = {name: figure(slices, name, in_flight) for name in ("empty", "report", "add_shard")}
    limit = "one fsync a call" if in_flight == 1 else unary_limit(slices, worse, in_flight)
    return row(
        f"durable_over_empty_{in_flight}{name_suffix}",
        ratios[worse],
        "x",
        aim,
        f"empty {calls['empty']:,.0f}/s",
        ratios[worse],
        limit,
        ratios=ratios,
        per_second=calls,
        committer_share=figure(slices, worse, in_flight, "committer_us") * calls[worse] / 1e6,
        cpu_us={name: cpu_of(slices, name, in_flight) for name in calls},
    )


def cpu_of(slices, name, in_flight):
    return {key: round(figure(slices, name, in_flight, key), 2) for key in ("server_us", "committer_us", "client_us")}


def etcd_row(slices, in_flight):
    ratios = {name: ratio_of(slices, name, "etcd_put", in_flight) for name in ("report", "add_shard")}
    worse = min(ratios, key=ratios.get)
    put = figure(slices, "etcd_put", in_flight)
    return row(
        f"durable_over_etcd_{in_flight}",
        ratios[worse],
        "x",
        ">= 2" if in_flight == 64 else "",
        f"etcd {put:,.0f}/s",
        ratios[worse],
        unary_limit(slices, worse, in_flight),
        ratios=ratios,
        etcd_cpu_us=cpu_of(slices, "etcd_put", in_flight),
    )


def register_row(slices, in_flight):
    ratio = median(
        [
            one["per_second"] / other["per_second"]
            for one, other in zip(slices["add_batch"][in_flight], slices["etcd_txn"][in_flight])
        ]
    )
    shards, puts = figure(slices, "add_batch", in_flight), figure(slices, "etcd_txn", in_flight)
    server, client = (figure(slices, "add_batch", in_flight, key) for key in ("server_us", "client_us"))
    return row(
        "register_over_etcd",
        ratio,
        "x",
        ">= 4",
        f"etcd {puts:,.0f} puts/s",
        ratio,
        f"{shards:,.0f} shards/s; CPU a shard: server {server:.1f} us, client {client:.1f} us",
        shards_per_second=shards,
        puts_per_second=puts,
        cpu_us=cpu_of(slices, "add_batch", in_flight),
        etcd_cpu_us=cpu_of(slices, "etcd_txn", in_flight),
    )


def unary(bench, settings):
    rows = []
    empty, muster = bench.start_empty_server(), bench.start_musterd("unary-data", "--log-level", "error")
    command = [bench.bin / "bench" / "unary_benchmark", "--empty", empty.target, "--muster", muster.target]
    etcd_missing = ""
    try:
        etcd = bench.start_etcd("etcd-unary")
        command += ["--etcd", etcd.target]
    except (RuntimeError, OSError) as error:
        etcd, etcd_missing = None, str(error)
    command += ["--rounds", settings.rounds, "--slice-ms", settings.slice_ms]
    own = ["--in-flight", ",".join(map(str, settings.in_flight)), "--batches-in-flight", "16"]
    few = ["--in-flight", "256", "--channels", "4", "--only", "empty,report,add_shard"]
    try:
        slices = json.loads(bench.run("unary_benchmark", command + own, GROUP_TIMEOUT_S))
        on_few = json.loads(bench.run("unary_benchmark", command + few, GROUP_TIMEOUT_S))
    finally:
        for server in filter(None, (empty, muster, etcd)):
            server.kill()
    for in_flight in settings.in_flight:
        rows.append(durable_row(slices, in_flight, aim=">= 0.8" if in_flight == 256 else ""))
    worst = rows[-1]["details"]
    rows.append(durable_row(on_few, 256, "_on_4"))
    rows.append(
        row("committer_cpu_share", worst["committer_share"], "cores", "", "of 2 cores, 256 in flight, the slower call")
    )
    for in_flight in settings.in_flight:
        name = f"durable_over_etcd_{in_flight}"
        aim = ">= 2" if in_flight == 64 else ""
        rows.append(etcd_row(slices, in_flight) if etcd else not_measured(name, "x", aim, etcd_missing))
    rows.append(register_row(slices, "16") if etcd else not_measured("register_over_etcd", "x", ">= 4", etcd_missing))
    return rows


# --- the others


def fanout(bench, settings):
    muster = bench.start_musterd("fanout-data", "--log-level", "error")
    etcd = bench.start_etcd("etcd-fanout")
    command = [bench.bin / "bench" / "fanout_benchmark", "--muster", muster.target, "--etcd", etcd.target]
    command += ["--watchers", settings.watchers, "--rounds", settings.events]
    try:
        out = json.loads(bench.run("fanout_benchmark", command, GROUP_TIMEOUT_S))
    finally:
        muster.kill()
        etcd.kill()
    ours, theirs = (median(out[name]["ms"]) for name in ("muster", "etcd"))
    cpu, bytes_ours = median(out["muster"]["server_cpu_ms"]), out["muster"]["bytes_per_watcher"]
    bytes_theirs = out["etcd"]["bytes_per_watcher"]
    return [
        row(
            "fanout_over_etcd",
            theirs / ours,
            "x",
            ">= 1",
            f"etcd {theirs:.0f} ms",
            theirs / ours,
            f"{ours:.0f} ms for {settings.watchers:,} watchers, of which {cpu:.0f} ms CPU of the server; gRPC's stream writes",
            **out,
        ),
        row(
            "watcher_memory",
            bytes_ours / 1024,
            "KiB",
            "",
            f"etcd {bytes_theirs / 1024:.0f} KiB",
            bytes_theirs / bytes_ours,
            "gRPC's state of an open call",
        ),
    ]


def scale(bench, settings):
    muster = bench.start_musterd("scale-data")
    empty = muster.resident_bytes()
    command = [bench.bin / "bench" / "scale_filler", "--muster", muster.address, "--versions", settings.versions]
    filled = json.loads(bench.run("scale_filler", command, GROUP_TIMEOUT_S))
    grown = muster.resident_bytes()
    muster.terminate()
    seconds, resident = [], []
    for _ in range(3):
        begin = time.monotonic()
        again = bench.start_musterd("scale-data")
        seconds.append(time.monotonic() - begin)
        # What planning and the first ticks after the start need is part of it.
        time.sleep(2)
        resident.append(again.resident_bytes())
        again.terminate()
    shards = filled["shards"]
    per_shard = (median(resident) - empty) / shards
    return [
        row(
            "restart_s",
            median(seconds),
            "s",
            "<= 4",
            f"{shards:,} shards",
            limit="reading and indexing every row",
            seconds=seconds,
            filling=filled,
        ),
        row(
            "bytes_per_shard",
            max(per_shard, (grown - empty) / shards),
            "B",
            "<= 400",
            f"{shards:,} shards",
            limit=f"after the restart {per_shard:.0f} B, before it, with caches full, {(grown - empty) / shards:.0f} B",
            resident_empty=empty,
            resident_grown=grown,
            resident_restarted=resident,
        ),
    ]


PLACEMENT_ROWS = (
    ("plan_fresh_balance", "max/mean", "<= 1.01"),
    ("plan_fresh_s", "s", "<= 3"),
    ("plan_loss_moved", "x minimum", "<= 1.05"),
    ("plan_loss_ms", "ms", "<= 20"),
)


def placement(bench, settings):
    """The program prints a JSON object a row."""
    command = [bench.bin / "bench" / "placement_benchmark"]
    if settings.quick:
        command += ["--shards", "100000", "--nodes", "1000", "--assemblies", "100"]
    rows = []
    for line in bench.run("placement_benchmark", command, GROUP_TIMEOUT_S).splitlines():
        one = json.loads(line)
        beside = one.get("baseline")
        rows.append(
            row(
                one["name"],
                one["value"],
                one["unit"],
                one["aim"],
                f"rendezvous {beside:.4g}" if isinstance(beside, (int, float)) else "",
                limit="memory latency of one thread" if one["unit"].endswith("CPU") else "",
            )
        )
    return rows


PARTS = {
    "unary": (unary, [("durable_over_empty_256", "x", ">= 0.8")]),
    "placement": (placement, PLACEMENT_ROWS),
    "fanout": (fanout, [("fanout_over_etcd", "x", ">= 1")]),
    "scale": (scale, [("restart_s", "s", "<= 4"), ("bytes_per_shard", "B", "<= 400")]),
    "recovery": (recovery.measure, [("recover_extra_s", "s", "<= 1")]),
}


if __name__ == "__main__":
    sys.exit(group.run("Runs the benchmarks of the control plane.", PARTS, Settings))
