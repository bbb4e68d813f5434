#!/usr/bin/env python3
"""Checks the rules of style that a machine can check. Prints `file:line: rule: what` and fails at any finding.

Usage: style_limits.py [--root DIR]
Exit codes: 0 clean, 1 findings, 2 nothing to check (a wrong root must not look clean).
"""

import argparse
import collections
import pathlib
import re
import sys

import cpp_text
import rooms

HEADER_LINES_MAX = 300
SOURCE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
README_LINES_MIN = 10
README_LINES_MAX = 80

PRODUCT = ("storage", "server", "client")
CHECKED = PRODUCT + ("proto", "tests", "cmake", "deploy")
TEXT_SUFFIXES = {".h", ".cc", ".proto", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".yaml"}
MAINS = {"server/main.cc", "client/cli/main.cc"}

Finding = collections.namedtuple("Finding", "path line rule message")

# (rule, places where it holds, places where it does not, pattern, message); places are path prefixes.
CODE_RULES = [
    (
        "clock",
        PRODUCT,
        ("storage/base/", *MAINS),
        r"\babsl::Now\s*\(|\w*_clock::now\b|\b(?:clock_gettime|gettimeofday|gpr_now)\s*\("
        r"|(?<![\w.>])time\s*\(\s*(?:nullptr|NULL|0|&)",
        "asks the system for the time; take a Clock&",
    ),
    (
        "sleep",
        PRODUCT,
        ("storage/base/", *MAINS),
        r"\bsleep_(?:for|until)\b|\babsl::SleepFor\b|(?<![\w.>])(?:u|nano)?sleep\s*\(",
        "sleeps; take a Clock& or wait on a CondVar",
    ),
    (
        "getenv",
        PRODUCT,
        ("storage/base/", *MAINS),
        r"\b(?:secure_)?getenv\b",
        "reads the environment; the mains do that",
    ),
    (
        "rand",
        PRODUCT,
        ("storage/base/", *MAINS),
        r"(?<![\w.>])s?rand\s*\(|\bstd::(?:random_device|mt19937\w*|default_random_engine)\b|\babsl::BitGen\b",
        "draws random numbers; take a Random&",
    ),
]

# (rule, places where it holds, places where it does not, forbidden include paths, message).
CORE = ("server/access/", "server/registry/", "server/placement/", "server/commit/", "server/planning/")
THREADS = ("server/commit/commit_thread.", "server/planning/planner_thread.", "server/commit/tick_thread.")
INCLUDE_RULES = [
    ("arrow", ("client/",), (), r"server/|storage/metadata/|muster/store/|rocksdb/", "client does not know the server's side"),
    ("arrow", ("server/",), (), r"client/", "server does not know the client"),
    ("arrow", ("storage/",), (), r"server/|client/", "storage knows neither server nor client"),
    ("arrow", ("storage/base/",), (), r"storage/(?!base/)", "storage/base is the bottom"),
    ("arrow", PRODUCT, (), r"tests/", "the product does not know its tests"),
    ("arrow", PRODUCT, ("storage/metadata/",), r"rocksdb/", "only storage/metadata knows RocksDB"),
    ("core", CORE, (), r"grpc(?:pp|\+\+)?/|grpc\w*\.h$|chrono$|ctime$|iostream$|fstream$|filesystem$|unistd\.h$|fcntl\.h$",
     "the core has no gRPC, no clock and no I/O"),
    ("core", CORE, THREADS, r"(?:thread|future)$", "the core has no threads of its own"),
    ("log", PRODUCT, ("server/main.cc", "server/guards.cc", "server/rpc/", "client/cli/"), r"spdlog/", "logs are written at the edge; return an error"),
    ("mutex", PRODUCT + ("tests/",), ("storage/base/lock_checks.cc",), r"absl/synchronization/", "lock with storage/base/mutex.h"),
    ("mutex", PRODUCT, ("storage/base/",), r"(?:shared_)?mutex$|condition_variable$", "lock with storage/base/mutex.h"),
]


def places(*prefixes):
    return tuple(prefix if prefix.endswith(("/", ".", ".cc")) else prefix + "/" for prefix in prefixes)


def holds_at(path, inside, outside):
    return path.startswith(places(*inside)) and not (outside and path.startswith(places(*outside)))


def check_size(path, text):
    lines = text.count("\n")
    limit = HEADER_LINES_MAX if path.endswith(".h") else SOURCE_LINES_MAX
    if lines > limit:
        yield Finding(path, lines, "size", f"{lines} lines; the limit is {limit}")
    for line, length in cpp_text.functions(text):
        if length > FUNCTION_LINES_MAX:
            yield Finding(path, line, "function", f"{length} lines; the limit is {FUNCTION_LINES_MAX}")


def check_code(path, text):
    code = cpp_text.code_only(text)
    for rule, inside, outside, pattern, message in CODE_RULES:
        if not holds_at(path, inside, outside):
            continue
        for match in re.finditer(pattern, code):
            found = " ".join(match.group().split())
            yield Finding(path, cpp_text.line_of(code, match.start()), rule, f"`{found}` {message}")


def check_includes(path, text):
    for line, include in cpp_text.includes(text):
        for rule, inside, outside, pattern, message in INCLUDE_RULES:
            if holds_at(path, inside, outside) and re.match(pattern, include):
                yield Finding(path, line, rule, f"includes {include}: {message}")


def check_guard(path, text):
    guard = "MUSTER_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"
    clean = cpp_text.without_comments(text)
    match = re.match(r"\s*#ifndef (\w+)\n#define (\w+)\n", clean)
    if not match or set(match.groups()) != {guard}:
        yield Finding(path, 1, "guard", f"the header does not begin with the guard {guard}")
    elif not text.endswith(f"#endif  // {guard}\n"):
        yield Finding(path, text.count("\n"), "guard", f"the header does not end with #endif  // {guard}")


def check_text(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        if re.search(r"\bFIX" + "ME", line):
            yield Finding(path, number, "fixme", "fix it before it is committed")
        if re.search(r"\bTO" + r"DO\b(?!\((?:#|issue )\d+\))", line):
            yield Finding(path, number, "todo", "name the issue, as in TO" + "DO(issue 7)")


def check_cmake(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        code = line.split("#", 1)[0]
        if re.search(r"\bGLOB(?:_RECURSE)?\b", code):
            yield Finding(path, number, "cmake", "sources are listed, not globbed")
        if re.search(r"\bset\s*\(\s*CMAKE_CXX_FLAGS", code):
            yield Finding(path, number, "cmake", "flags travel by a target, not by CMAKE_CXX_FLAGS")


def readme_folders(root, files):
    """Folders that must have a README.md: those with sources; below proto and tests only the first level."""
    for path in files:
        if path.suffix not in {".h", ".cc", ".proto", ".py", ".sh"}:
            continue
        parts = path.relative_to(root).parts[:-1]
        if parts[0] in ("proto", "cmake"):
            yield parts[:1]
        elif parts[0] == "tests":
            yield parts[:2]
        else:
            yield parts
        # A folder of folders says what they are.
        yield parts[:1]


def check_readmes(root, files):
    for parts in sorted(set(readme_folders(root, files))):
        path = "/".join(parts) + "/README.md"
        file = root / path
        if not file.is_file():
            yield Finding(path, 1, "readme", "is missing: say what is here, what is not, and the invariants")
            continue
        lines = file.read_text(encoding="utf-8").count("\n")
        if not README_LINES_MIN <= lines <= README_LINES_MAX:
            yield Finding(path, lines, "readme", f"{lines} lines; {README_LINES_MIN} to {README_LINES_MAX} are right")


def list_files(root):
    files = [path for path in root.glob("*.txt") if path.is_file()]
    for folder in CHECKED:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
                files.append(path)
    return files


def check_file(path, text):
    yield from check_text(path, text)
    if path.endswith((".h", ".cc")):
        yield from check_size(path, text)
        yield from check_code(path, text)
        yield from check_includes(path, text)
    if path.endswith(".h"):
        yield from check_guard(path, text)
    if path.endswith((".cmake", "CMakeLists.txt")):
        yield from check_cmake(path, text)


def check_tree(root):
    """Returns (findings, number of C++ files seen)."""
    root = pathlib.Path(root)
    files = list_files(root)
    findings = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        findings.extend(check_file(file.relative_to(root).as_posix(), text))
    inner = [file for file in files if file.parent != root]
    findings.extend(check_readmes(root, inner))
    return sorted(findings), sum(file.suffix in {".h", ".cc"} for file in files)


def check_rooms(root):
    """The findings between folders: includes, circles, words that are said twice."""
    root = pathlib.Path(root)
    files = [file for file in list_files(root) if file.parent != root]
    texts = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8", errors="replace") for file in files}
    sources = {path: text for path, text in texts.items() if path.endswith((".h", ".cc"))}
    readmes = {path: text for path, text in texts.items() if path.endswith("README.md")}
    found = [*rooms.check_rooms(sources, readmes), *rooms.check_words(sources)]
    return sorted(Finding(*finding) for finding in found)


def main():
    parser = argparse.ArgumentParser(description="Checks the project's style limits.")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2], help="the project's top folder")
    root = parser.parse_args().root
    findings, sources = check_tree(root)
    if sources == 0:
        print(f"{root}: no C++ files found; is this the project's top folder?", file=sys.stderr)
        return 2
    findings = sorted(findings + check_rooms(root))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.message}")
    print(f"{sources} C++ files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
