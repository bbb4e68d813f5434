"""Real servers of the S3 protocol on loopback: Ceph's RADOS Gateway, and the Versity S3 Gateway over a directory.

  python -m harness.s3_servers NAME DIRECTORY     prints the environment of its clients as JSON, and serves until stdin ends
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import uuid

from harness.cluster import free_port
from harness.conditions import cannot_run, eventually
from harness.process import Process

TOOLS = pathlib.Path(__file__).resolve().parents[3] / "build" / "tools"
ACCESS_KEY = "muster-tests"
SECRET_KEY = "a secret that no log may show"
START_ATTEMPTS = 5


class S3Server:
    """A server that serves; `environment` is what clients need to find it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.endpoint = ""
        self.processes = []

    @property
    def environment(self):
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            # What newer clients add by default is unknown to Ceph 16.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1",
        }

    @property
    def address(self):
        """Host and port."""
        host, port = self.endpoint.removeprefix("http://").split(":")
        return host, int(port)

    def aws(self, *args):
        """Runs the `aws` command of Amazon's own client; returns what it printed."""
        command = [pathlib.Path(sys.executable).parent / "aws", *map(str, args)]
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def make_bucket(self, bucket):
        self.aws("s3api", "create-bucket", "--bucket", bucket)
        return bucket

    def stop(self):
        for process in reversed(self.processes):
            process.kill()

    def _spawn(self, name, command):
        process = Process(name, command, self.directory / f"{name}.log")
        self.processes.append(process)
        return process

    def _serve(self, name, command_at):
        """Starts `command_at(port)` until one of them has got its port and answers."""
        for _ in range(START_ATTEMPTS):
            port = free_port()
            self.endpoint = f"http://127.0.0.1:{port}"
            process = self._spawn(name, command_at(port))

            def answers(process=process):
                asked = ["curl", "--silent", "--output", os.devnull, "--noproxy", "*", self.endpoint]
                return not process.running() or subprocess.run(asked, check=False).returncode == 0

            eventually(answers, f"{name} answers", timeout=60)
            if process.running():
                return
        raise AssertionError(f"{name} does not stay up:\n{process.output()}")


class VersityGateway(S3Server):
    """Objects are files below a directory."""

    name = "versity"

    def __init__(self, directory):
        super().__init__(directory)
        program = TOOLS / "versitygw"
        if not program.exists():
            cannot_run(f"{program} is missing; run tests/setup_tools.sh with Go 1.21 or later in PATH")
        (self.directory / "data").mkdir()
        (self.directory / "metadata").mkdir()
        self._serve(
            "versitygw",
            lambda port: [program, "--port", f"127.0.0.1:{port}", "--access", ACCESS_KEY, "--secret", SECRET_KEY]
            + ["--region", "us-east-1", "--quiet"]
            # Beside the files: not every file system of a temporary directory has extended attributes.
            + ["posix", "--sidecar", self.directory / "metadata", self.directory / "data"],
        )


CEPH_CONFIG = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {directory}/keyring
run dir = {directory}
pid file = {directory}/$name.pid
admin socket = {directory}/$name.asok
log file = {directory}/ceph-$name.log
mon cluster log file = {directory}/ceph-cluster.log
mon data = {directory}/mon
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
mon allow pool size one = true
mon data avail warn = 0
mon data avail crit = 0
osd crush chooseleaf type = 0
paxos propose interval = 0.05
crash dir = {directory}
"""
CEPH_KEYS = {
    "mon.": ["--cap", "mon", "allow *"],
    "client.admin": ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"],
    "osd.0": ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"],
    "client.rgw": ["--cap", "mon", "allow rw", "--cap", "osd", "allow rwx"],
}


class CephGateway(S3Server):
    """One monitor, one OSD that keeps everything in memory, one gateway; on a disk that may be nearly full."""

    name = "ceph"

    def __init__(self, directory):
        super().__init__(directory)
        for program in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin"):
            if not shutil.which(program):
                cannot_run(f"{program} is missing; install ceph-mon, ceph-osd and radosgw")
        self.config = self.directory / "ceph.conf"
        self._start_monitor()
        self._start_osd()
        user = ["user", "create", "--uid=muster", "--display-name=muster"]
        self._run("radosgw-admin", *user, f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self._serve(
            "radosgw",
            lambda port: ["radosgw", "-c", self.config, "-n", "client.rgw", "-f"]
            + [f"--rgw-frontends=beast endpoint=127.0.0.1:{port}", "--rgw-thread-pool-size=32"],
        )

    def _run(self, program, *args):
        command = [program, "-c", self.config, *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"

    def _start_monitor(self):
        keyring, monmap = self.directory / "keyring", self.directory / "monmap"
        fsid, port = str(uuid.uuid4()), free_port()
        self.config.write_text(
            CEPH_CONFIG.format(fsid=fsid, port=port, directory=self.directory), encoding="ascii"
        )
        for number, (name, caps) in enumerate(CEPH_KEYS.items()):
            create = [] if number else ["--create-keyring"]
            self._run("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *caps)
        addresses = ["--addv", "a", f"[v2:127.0.0.1:{port}]"]
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, *addresses, monmap)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self._spawn("ceph-mon", ["ceph-mon", "-c", self.config, "-i", "a", "-f"])

    def _start_osd(self):
        osd = str(uuid.uuid4())
        (self.directory / "osd").mkdir()
        self._run("ceph", "--connect-timeout", "30", "osd", "new", osd, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", ["ceph-osd", "-c", self.config, "-i", "0", "-f"])


SERVERS = {server.name: server for server in (VersityGateway, CephGateway)}


def main():
    server = SERVERS[sys.argv[1]](sys.argv[2])
    print(json.dumps(server.environment), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
