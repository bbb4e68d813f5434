"""From the kill of an agent until its shards are READY elsewhere."""

import subprocess
import threading
import time

from report import median, row
from servers import await_true

AGENTS = 20
SHARDS = 60
LEASE_TTL_S = 2.0
GRACE_S = 1.0


class Watcher:
    """Follows the assembly's states: (seconds since 1970, state) in order."""

    def __init__(self, bench, address, assembly):
        self.states = []
        process = bench.spawn(
            "watcher", [bench.bin / "bench" / "assembly_watcher", address, assembly], stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, lines):
        for line in lines:
            words = line.split()
            self.states.append((float(words[0]), words[1]))

    def await_state(self, state, after):
        """The time of the first such state after a time."""
        found = lambda: next((when for when, what in list(self.states) if when > after and what == state), None)
        return await_true(found, f"the assembly is {state}")


def measure(bench, settings):
    server = bench.start_musterd("recovery-data", "--lease-ttl", LEASE_TTL_S, "--move-grace", GRACE_S)
    muster = [bench.bin / "bin" / "muster"]

    def command(*words):
        return bench.run(words[0], muster + list(words), timeout=60)

    sample = bench.directory / "sample.safetensors"
    command("sample", "--out", sample, "--size", "64MiB")
    target = ["--server", server.address]
    command(
        "publish", sample, "--model", "m@v1", "--to", f"file://{bench.directory}/store",
        "--strategy", "uniform", "--shards", str(SHARDS), *target,
    )  # fmt: skip
    command("assemblies", "create", "a", "--model", "m@v1", "--policy", "balanced", "--min-nodes", str(AGENTS), *target)
    watcher = Watcher(bench, server.address, "assemblies/a")
    agents = [
        bench.spawn(
            f"agent-{i}",
            muster + ["agent", "--node", f"n{i}", "--assembly", "a", "--cache", bench.directory / f"cache-{i}"]
            + ["--allow-location", f"file://{bench.directory}", *target],
        )
        for i in range(AGENTS)
    ]
    watcher.await_state("READY", 0)
    extras = []
    for agent in agents[: settings.kills]:
        # Heartbeats are at a random point of their interval.
        time.sleep(LEASE_TTL_S)
        killed = time.time()
        agent.kill()
        watcher.await_state("DEGRADED", killed)
        extras.append(watcher.await_state("READY", killed) - killed - LEASE_TTL_S - GRACE_S)
    return [
        row(
            "recover_extra_s",
            median(extras),
            "s",
            "<= 1",
            f"1 of {AGENTS} agents, TTL {LEASE_TTL_S:.0f} s + grace {GRACE_S:.0f} s",
            limit="ticks of 100 ms, the plan, the pull; less the age of the last heartbeat",
            extras=extras,
        )
    ]
