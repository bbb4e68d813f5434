"""What is shipped: small, with few shared libraries, and with stacks that can be read all the same."""

import pathlib
import re
import subprocess

import pytest
from harness.cluster import binary
from harness.conditions import cannot_run

MIB = 1 << 20
# Those of every system, and what Debian has as shared libraries only.
SYSTEM = {"libc", "libm", "libgcc_s", "libstdc++", "ld-linux-x86-64", "ld-linux-aarch64", "libssl", "libcrypto", "libz", "libcurl"}
SHARED_ONLY = {"libhwy", "libspdlog", "libfmt"}
# A release is these many bytes at most.
LARGEST = {"muster": 24 * MIB, "musterd": 32 * MIB}


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60).stdout


def build_id(path):
    return re.search(r"Build ID: ([0-9a-f]{40})", run("readelf", "--notes", path))[1]


@pytest.fixture(name="path", params=["muster", "musterd"])
def make_path(request):
    path = pathlib.Path(binary(request.param))
    if not path.with_name(f"{path.name}.debug").exists():
        cannot_run(f"{path} is not of a release: it has its debug information in itself")
    return path


def test_binary_is_small_and_needs_few_libraries(path):
    assert path.stat().st_size < LARGEST[path.name]
    needed = re.findall(r"\(NEEDED\).*\[(.+?)\.so", run("readelf", "--dynamic", path))
    assert set(needed) <= SYSTEM | SHARED_ONLY


def test_debug_information_lies_beside_it_and_has_lines(path):
    debug = path.with_name(f"{path.name}.debug")
    sections = run("readelf", "--sections", "--wide", path)
    assert ".debug_line" not in sections and ".gnu_debuglink" in sections
    assert build_id(debug) == build_id(path)
    # The address in a stack of the stripped binary: that of main.
    symbols = run("readelf", "--symbols", "--wide", debug)
    main = re.search(r"^ *\d+: ([0-9a-f]+) .* FUNC .* main$", symbols, re.MULTILINE)[1]
    function, line = run("addr2line", "-f", "-e", debug, f"0x{main}").splitlines()
    assert function == "main" and re.search(r"main\.cc:\d+", line)
