"""A real HDFS on loopback, from Hadoop's published jars: one name node, or a pair of them, and data nodes.

  python -m harness.hdfs_server DIRECTORY     prints what its clients need as JSON, and serves until stdin ends
"""

import json
import pathlib
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request

from harness.cluster import free_port
from harness.conditions import cannot_run, eventually
from harness.process import Process

JARS = pathlib.Path(__file__).resolve().parents[3] / "build" / "tools" / "hadoop"
USER = "muster"
# Of the key store, which lies in the test's own directory.
PASSWORD = "muster"
# Java 17 keeps from libraries of that age what they take; the rest is for a quick start on a small machine.
JAVA_FLAGS = ["--add-opens", "java.base/java.lang=ALL-UNNAMED", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATA_NODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
LOG_SETTINGS = """log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n
"""


def settings_file(settings):
    properties = "".join(f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items())
    return f"<configuration>{properties}</configuration>"


def size_of(path):
    """0 for a file that is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Hdfs:
    """What the kinds of clusters share. They serve until stop(); `environment` is what clients need to find one."""

    def __init__(self, directory, settings, data_nodes, certificate=None):
        """With `certificate`, the path of a .pem and a .key without these endings, HTTPS is all that is served."""
        self.directory = pathlib.Path(directory)
        if not any(JARS.glob("hadoop-hdfs-3*.jar")):
            cannot_run(f"{JARS} has no jars; run tests/setup_tools.sh with java and mvn in PATH")
        if not shutil.which("java"):
            cannot_run("java is missing; install default-jre-headless")
        self.data_nodes = data_nodes
        self.certificate = certificate
        self.settings = {
            "dfs.namenode.name.dir": f"file://{self.directory}/name",
            "dfs.namenode.rpc-bind-host": "127.0.0.1",
            "dfs.namenode.fs-limits.min-block-size": "0",
            "dfs.replication": str(data_nodes),
            "dfs.permissions.superusergroup": USER,
            "hadoop.tmp.dir": f"{self.directory}/tmp",
            **settings,
        }
        if certificate:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.settings["dfs.http.policy"] = "HTTPS_ONLY"
            subprocess.run(
                ["openssl", "pkcs12", "-export", "-in", f"{certificate}.pem", "-inkey", f"{certificate}.key"]
                + ["-out", self.directory / "key-store", "-passout", f"pass:{PASSWORD}"],
                check=True, capture_output=True,
            )  # fmt: skip
        self.processes = {}
        self.configuration = self._configure("clients", {})

    @property
    def environment(self):
        return {"HADOOP_CONF_DIR": str(self.configuration), "HADOOP_USER_NAME": USER, "no_proxy": "127.0.0.1"}

    @property
    def shell(self):
        """The command of Hadoop's own client: `hdfs dfs`."""
        return self._java(self.configuration, "org.apache.hadoop.fs.FsShell")

    def open_blocks(self):
        """Names of the blocks that are being written and of which data nodes have the first bytes."""
        return {path.name for path in self.directory.glob("data-node-*/**/rbw/blk_*") if not path.suffix and size_of(path)}

    def stop(self):
        for process in reversed(self.processes.values()):
            process.kill()

    def _configure(self, name, more):
        """The settings of one process; also the folders that the web interfaces want, which their jars leave out."""
        configuration = self.directory / "settings" / name
        for pages in ("hdfs", "datanode", "static"):
            (configuration / "webapps" / pages / "WEB-INF").mkdir(parents=True)
        key_store = {
            "ssl.server.keystore.location": self.directory / "key-store",
            "ssl.server.keystore.type": "pkcs12",
            "ssl.server.keystore.password": PASSWORD,
            "ssl.server.keystore.keypassword": PASSWORD,
        }
        (configuration / "log4j.properties").write_text(LOG_SETTINGS, encoding="ascii")
        (configuration / "core-site.xml").write_text(settings_file(self.settings), encoding="ascii")
        (configuration / "hdfs-site.xml").write_text(settings_file({**self.settings, **more}), encoding="ascii")
        (configuration / "ssl-server.xml").write_text(settings_file(key_store), encoding="ascii")
        return configuration

    def _java(self, configuration, program, *args):
        return ["java", *JAVA_FLAGS, f"-DHADOOP_USER_NAME={USER}", "-cp", f"{configuration}:{JARS}/*", program, *args]

    def _run(self, configuration, program, *args):
        command = self._java(configuration, program, *args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    def _spawn(self, name, configuration, program):
        command = self._java(configuration, program)
        self.processes[name] = Process(name, command, self.directory / f"{name}.log", {"HADOOP_USER_NAME": USER})

    def _spawn_data_nodes(self):
        ports = ("dfs.datanode.address", "dfs.datanode.http.address", "dfs.datanode.https.address", "dfs.datanode.ipc.address")
        for number in range(1, self.data_nodes + 1):
            name = f"data-node-{number}"
            more = {"dfs.datanode.data.dir": f"file://{self.directory}/{name}", "dfs.datanode.hostname": "127.0.0.1"}
            self._spawn(name, self._configure(name, {**dict.fromkeys(ports, "127.0.0.1:0"), **more}), DATA_NODE)

    def _bean(self, web_address, name):
        """What the name node at `web_address` says of itself; {} while it can't be asked."""
        for process in self.processes.values():
            assert process.running(), f"{process.name} ended:\n{process.output()[-3000:]}"
        try:
            beans = json.loads(self._ask(f"{self._url(web_address)}/jmx?qry=Hadoop:service=NameNode,name={name}"))["beans"]
        except OSError:
            return {}
        return beans[0] if beans else {}

    def _url(self, web_address):
        return f"{'https' if self.certificate else 'http'}://{web_address}"

    def _ask(self, url, method="GET", body=None):
        """The body of the reply; an OSError for any other than a good one."""
        context = ssl.create_default_context(cafile=f"{self.certificate}.pem") if self.certificate else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"}, method=method)
        with urllib.request.build_opener(*handlers).open(request, timeout=60) as reply:
            return reply.read()

    def _is_operational(self, web_address):
        state = self._bean(web_address, "FSNamesystemState")
        return state.get("NumLiveDataNodes") == self.data_nodes and state["FSState"] == "Operational"

    def _await_service(self, web_address):
        """By the name node there, which is active, and by all data nodes."""
        eventually(lambda: self._is_operational(web_address), "HDFS serves", timeout=120)
        # Their first requests take longer than clients wait where the machine is busy.
        file = f"{self._url(web_address)}/webhdfs/v1/first?user.name={USER}&op="
        locations = {}

        def found_all():
            location = json.loads(self._ask(f"{file}CREATE&overwrite=true&noredirect=true", "PUT"))["Location"]
            locations[urllib.parse.urlsplit(location).port] = location
            return len(locations) == self.data_nodes

        eventually(found_all, "each data node is asked to take a file")
        for location in locations.values():
            self._ask(location, "PUT", b"first")
        self._ask(f"{file}OPEN")
        self._ask(f"{file}DELETE", "DELETE")


class HdfsServer(_Hdfs):
    """One name node."""

    def __init__(self, directory, data_nodes=2, certificate=None):
        self.rpc_port, self.web_port = free_port(), free_port()
        settings = {
            "fs.defaultFS": f"hdfs://127.0.0.1:{self.rpc_port}",
            f"dfs.namenode.{'https' if certificate else 'http'}-address": self.web_address,
        }
        super().__init__(directory, settings, data_nodes, certificate)
        self._run(self.configuration, NAME_NODE, "-format", "-nonInteractive")
        self._spawn("name-node", self.configuration, NAME_NODE)
        self._spawn_data_nodes()
        self._await_service(self.web_address)

    @property
    def web_address(self):
        return f"127.0.0.1:{self.web_port}"

    def uri(self, path, scheme="hdfs"):
        """As users paste it: with the port of RPCs."""
        return f"{scheme}://127.0.0.1:{self.rpc_port}/{path}"


class NameService(_Hdfs):
    """Two name nodes, "first" and "second" as the settings list them; clients know the service's name only.

    They share a directory of edits, and nobody but the test decides which of them is active: "second", to begin with.
    """

    NAME = "weights"
    NAME_NODES = ("first", "second")

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.web_addresses = {one: f"127.0.0.1:{free_port()}" for one in self.NAME_NODES}
        provider = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
        settings = {
            "fs.defaultFS": f"hdfs://{self.NAME}",
            "dfs.nameservices": self.NAME,
            f"dfs.ha.namenodes.{self.NAME}": ",".join(self.NAME_NODES),
            f"dfs.client.failover.proxy.provider.{self.NAME}": provider,
            "dfs.namenode.shared.edits.dir": f"file://{directory}/shared",
            "dfs.ha.standby.checkpoints": "false",
        }
        for one in self.NAME_NODES:
            settings[f"dfs.namenode.rpc-address.{self.NAME}.{one}"] = f"127.0.0.1:{free_port()}"
            settings[f"dfs.namenode.http-address.{self.NAME}.{one}"] = self.web_addresses[one]
        super().__init__(directory, settings, data_nodes=2)
        self._configurations = {
            one: self._configure(one, {"dfs.ha.namenode.id": one, "dfs.namenode.name.dir": f"file://{directory}/{one}"})
            for one in self.NAME_NODES
        }
        self._run(self._configurations["first"], NAME_NODE, "-format", "-nonInteractive")
        shutil.copytree(directory / "first", directory / "second")
        for one in self.NAME_NODES:
            self.start(one)
        self._spawn_data_nodes()
        eventually(lambda: all(self.state(one) == "standby" for one in self.NAME_NODES), "both stand by", timeout=120)
        self.activate("second")
        self._await_service(self.web_addresses["second"])
        eventually(lambda: self._is_operational(self.web_addresses["first"]), "the standby could serve", timeout=120)

    def uri(self, path):
        return f"hdfs://{self.NAME}/{path}"

    def state(self, name_node):
        """"active", "standby", or None."""
        return self._bean(self.web_addresses[name_node], "NameNodeStatus").get("State")

    def start(self, name_node):
        self._spawn(name_node, self._configurations[name_node], NAME_NODE)

    def kill(self, name_node):
        """kill -9."""
        self.processes.pop(name_node).kill()

    def stand_by(self, name_node):
        self._haadmin("-transitionToStandby", name_node)

    def activate(self, name_node):
        """The other one has to stand by, or to be gone: nobody looks."""
        self._haadmin("-transitionToActive", "--forceactive", name_node)

    def _haadmin(self, *args):
        self._run(self.configuration, "org.apache.hadoop.hdfs.tools.DFSHAAdmin", *args)


def main():
    server = HdfsServer(sys.argv[1])
    print(json.dumps({"environment": server.environment, "uri": server.uri("bench"), "shell": server.shell}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
