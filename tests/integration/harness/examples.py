"""Programs of examples/, built as another project would build them."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def build_example(name, directory):
    """Installs the build below `directory` and makes the example against that; returns (program, prefix)."""
    build = pathlib.Path(os.environ["MUSTER_BIN_DIR"]).resolve().parent
    prefix, out = directory / "prefix", directory / "example"
    run("cmake", "--install", build, "--prefix", prefix)
    run("cmake", "-S", ROOT / "examples" / name, "-B", out, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", out)
    return out / name, prefix
