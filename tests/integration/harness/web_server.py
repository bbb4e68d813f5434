"""A real nginx over one directory, and models that are read from it."""

import os
import pathlib
import signal
import socket
import subprocess

from harness.conditions import cannot_run

NGINX = "/usr/sbin/nginx"
CONFIG = """daemon off;
worker_processes 1;
{user}
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{ listen 127.0.0.1:{port}{tls}; root "{root}"; }}
}}
"""

class WebServer:
    """Serves `root` until stop()."""

    def __init__(self, directory, root, certificate=None):
        if not os.access(NGINX, os.X_OK):
            cannot_run(f"{NGINX} is missing; install nginx-light")
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.root = pathlib.Path(root)
        # nginx takes over a socket that is named in NGINX, as it does when it is replaced by a newer binary: no port is
        # guessed, and connections are taken from the first moment.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        tls = ""
        if certificate:
            tls = f" ssl; ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.key"
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        (self.directory / "nginx.conf").write_text(
            CONFIG.format(
                directory=self.directory, root=self.root, port=self.port, tls=tls,
                user="user root;" if os.geteuid() == 0 else "",
            ),
            encoding="utf-8",
        )  # fmt: skip
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", NGINX, "-p", str(self.directory)]
            + ["-c", str(self.directory / "nginx.conf"), "-e", str(self.directory / "error.log")],
            env={"NGINX": f"{self._socket.fileno()};", "PATH": "/usr/sbin:/usr/bin"},
            pass_fds=[self._socket.fileno()],
        )

    def stop(self):
        """From now on connections are refused."""
        self._socket.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)

    def uri(self, path):
        """Of a file below the root."""
        return f"{self.url}/{pathlib.Path(path).relative_to(self.root)}"


def read_over(api, model, version, urls):
    """Makes every shard's locations those of `urls`, functions from a file's path to its URI, best first; returns the paths."""
    name = f"models/{model}/versions/{version}"
    paths = []
    for shard in api.shards(model, version):
        published = shard.locations[0].uri
        path = pathlib.Path(published.removeprefix("file://"))
        for priority, url in enumerate(urls, start=1):
            location = {"uri": url(path), "priority": priority}
            api.models.AddLocations(name=name, entries=[{"shard": shard.index, "location": location}])
        api.models.RemoveLocations(name=name, entries=[{"shard": shard.index, "uri": published}])
        paths.append(path)
    return paths
