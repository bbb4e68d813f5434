"""A real HDFS on loopback: one name node and two data nodes, from Hadoop's published jars.

  python -m harness.hdfs_server DIRECTORY     prints what its clients need as JSON, and serves until stdin ends
"""

import json
import pathlib
import shutil
import subprocess
import sys
import urllib.request

from harness.cluster import free_port
from harness.conditions import cannot_run, eventually
from harness.process import Process

JARS = pathlib.Path(__file__).resolve().parents[3] / "build" / "tools" / "hadoop"
DATA_NODES = 2
USER = "muster"
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


class HdfsServer:
    """Serves until stop(); `environment` is what clients need to find it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        if not any(JARS.glob("hadoop-hdfs-3*.jar")):
            cannot_run(f"{JARS} has no jars; run tests/setup_tools.sh with java and mvn in PATH")
        if not shutil.which("java"):
            cannot_run("java is missing; install default-jre-headless")
        self.rpc_port, self.web_port = free_port(), free_port()
        self.settings = {
            "fs.defaultFS": f"hdfs://127.0.0.1:{self.rpc_port}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.web_port}",
            "dfs.namenode.name.dir": f"file://{self.directory}/name",
            "dfs.namenode.rpc-bind-host": "127.0.0.1",
            "dfs.namenode.fs-limits.min-block-size": "0",
            "dfs.replication": str(DATA_NODES),
            "dfs.permissions.superusergroup": USER,
            "hadoop.tmp.dir": f"{self.directory}/tmp",
        }
        self.configuration = self._configure("name", {})
        self.processes = []
        self._start()

    @property
    def web_address(self):
        return f"127.0.0.1:{self.web_port}"

    @property
    def environment(self):
        return {"HADOOP_CONF_DIR": str(self.configuration), "HADOOP_USER_NAME": USER, "no_proxy": "127.0.0.1"}

    def uri(self, path):
        """As users paste it: with the port of RPCs."""
        return f"hdfs://127.0.0.1:{self.rpc_port}/{path}"

    @property
    def shell(self):
        """The command of Hadoop's own client: `hdfs dfs`."""
        return self._java(self.configuration, "org.apache.hadoop.fs.FsShell")

    def stop(self):
        for process in reversed(self.processes):
            process.kill()

    def _configure(self, name, more):
        """The settings of one process; also the folders that the web interfaces want, which their jars leave out."""
        configuration = self.directory / "settings" / name
        for pages in ("hdfs", "datanode", "static"):
            (configuration / "webapps" / pages / "WEB-INF").mkdir(parents=True)
        (configuration / "log4j.properties").write_text(LOG_SETTINGS, encoding="ascii")
        (configuration / "core-site.xml").write_text(settings_file(self.settings), encoding="ascii")
        (configuration / "hdfs-site.xml").write_text(settings_file({**self.settings, **more}), encoding="ascii")
        return configuration

    def _java(self, configuration, program, *args):
        return ["java", *JAVA_FLAGS, f"-DHADOOP_USER_NAME={USER}", "-cp", f"{configuration}:{JARS}/*", program, *args]

    def _start(self):
        environment = {"HADOOP_USER_NAME": USER}
        formatting = self._java(self.configuration, NAME_NODE, "-format", "-nonInteractive")
        done = subprocess.run(formatting, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        commands = {"name-node": self._java(self.configuration, NAME_NODE)}
        for number in range(1, DATA_NODES + 1):
            name = f"data-node-{number}"
            ports = dict.fromkeys(("dfs.datanode.address", "dfs.datanode.http.address", "dfs.datanode.ipc.address"), "127.0.0.1:0")
            more = {"dfs.datanode.data.dir": f"file://{self.directory}/{name}", "dfs.datanode.hostname": "127.0.0.1"}
            commands[name] = self._java(self._configure(name, {**ports, **more}), DATA_NODE)
        for name, command in commands.items():
            self.processes.append(Process(name, command, self.directory / f"{name}.log", environment))
        eventually(self._serves, "HDFS serves", timeout=120)

    def _serves(self):
        for process in self.processes:
            assert process.running(), f"{process.name} ended:\n{process.output()[-3000:]}"
        query = f"http://{self.web_address}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(query, timeout=5) as reply:
                beans = json.load(reply)["beans"]
        except OSError:
            return False
        return bool(beans) and beans[0]["NumLiveDataNodes"] == DATA_NODES and beans[0]["FSState"] == "Operational"


def main():
    server = HdfsServer(sys.argv[1])
    print(json.dumps({"environment": server.environment, "uri": server.uri("bench"), "shell": server.shell}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
