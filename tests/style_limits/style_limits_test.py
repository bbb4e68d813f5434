#!/usr/bin/env python3
"""Feeds bad samples to style_limits.py and expects the findings, so that the checks can't silently pass."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import cpp_text
import style_limits

SCRIPT = pathlib.Path(__file__).with_name("style_limits.py")
README = "line\n" * 18 + "May include: nothing.\n"

# Sources that are right.
GOOD = {
    "server/registry/good.h": (
        "// Says what it is.\n#ifndef MUSTER_SERVER_REGISTRY_GOOD_H_\n#define MUSTER_SERVER_REGISTRY_GOOD_H_\n"
        '#include <vector>\n#include "storage/base/clock.h"\n#endif  // MUSTER_SERVER_REGISTRY_GOOD_H_\n'
    ),
    "server/registry/good.cc": (
        "// absl::Now() and rand() in a comment are fine. TO" + "DO(issue 7): so is this.\n"
        'const char* kText = "getenv(x) #include <thread>";\n'
        "int f() { return clock.SleepFor(x) + operand(3) + strand(4) + object.time(0) + options.sleep(1); }\n"
    ),
    "server/commit/commit_thread.cc": "#include <thread>\n",
    "server/main.cc": '#include "spdlog/spdlog.h"\nint main() { return getenv("X") == nullptr; }\n',
    "client/cli/main.cc": "auto t = std::chrono::steady_clock::now();\n",
    "storage/metadata/rocksdb_metadata_store.cc": '#include "rocksdb/db.h"\n',
    "storage/base/clock.cc": "#include <mutex>\nauto now = absl::Now();\n",
    "server/CMakeLists.txt": "# file(GLOB x) is not for us.\nadd_library(x a.cc)\n",
}
FOLDERS = ["client", "client/cli", "server", "server/commit", "server/registry", "storage", "storage/base",
           "storage/metadata", "tests"]

# (file, contents, line, rule): each must give exactly this finding on top of none.
BAD = [
    ("server/registry/x.cc", "\n" * 801, 801, "size"),
    ("server/registry/x.h", None, 301, "size"),
    ("server/registry/x.cc", "\nint f(int a) {\n" + "  g();\n" * 69 + "}\n", 2, "function"),
    ("client/agent/x.cc", "\nauto t = absl::Now();\n", 2, "clock"),
    ("client/agent/x.cc", "auto t = std::chrono::system_clock::now();\n", 1, "clock"),
    ("storage/object/x.cc", "clock_gettime(CLOCK_REALTIME, &t);\n", 1, "clock"),
    ("storage/object/x.cc", "auto t = std::time(nullptr);\n", 1, "clock"),
    ("server/rpc/x.cc", "std::this_thread::sleep_for(x);\n", 1, "sleep"),
    ("server/rpc/x.cc", "absl::SleepFor(x);\n", 1, "sleep"),
    ("server/rpc/x.cc", "/* a\n b */ ::usleep(3);\n", 2, "sleep"),
    ("client/sdk/x.cc", 'auto home = std::getenv("HOME");\n', 1, "getenv"),
    ("client/sdk/x.cc", "int r = std::rand();\n", 1, "rand"),
    ("client/sdk/x.cc", "std::random_device device;\n", 1, "rand"),
    ("client/sdk/x.cc", '#include "server/registry/good.h"\n', 1, "arrow"),
    ("client/sdk/x.cc", '#include "storage/metadata/metadata_store.h"\n', 1, "arrow"),
    ("client/sdk/x.cc", '#include "muster/store/rows.pb.h"\n', 1, "arrow"),
    ("server/rpc/x.cc", '#include "client/sdk/client.h"\n', 1, "arrow"),
    ("server/rpc/x.cc", '  #  include "rocksdb/db.h"\n', 1, "arrow"),
    ("storage/object/x.cc", '#include "server/main.h"\n', 1, "arrow"),
    ("storage/object/x.cc", '#include "client/sdk/client.h"\n', 1, "arrow"),
    ("storage/base/x.cc", '#include "storage/object/uri.h"\n', 1, "arrow"),
    ("storage/object/x.cc", '#include "tests/support/fake_clock.h"\n', 1, "arrow"),
    ("server/registry/x.cc", '#include "grpcpp/grpcpp.h"\n', 1, "core"),
    ("server/placement/x.cc", "#include <chrono>\n", 1, "core"),
    ("server/placement/x.cc", "#include <thread>\n", 1, "core"),
    ("server/commit/x.cc", "#include <thread>\n", 1, "core"),
    ("server/commit/commit_thread.cc", "#include <iostream>\n", 1, "core"),
    ("server/commit/x.cc", "#include <fstream>\n", 1, "core"),
    ("server/registry/x.cc", '#include "spdlog/spdlog.h"\n', 1, "log"),
    ("client/agent/x.cc", "#include <spdlog/spdlog.h>\n", 1, "log"),
    ("storage/object/x.cc", '#include "absl/synchronization/mutex.h"\n', 1, "mutex"),
    ("tests/unit/x.cc", '#include "absl/synchronization/mutex.h"\n', 1, "mutex"),
    ("storage/object/x.cc", "#include <shared_mutex>\n", 1, "mutex"),
    ("server/rpc/x.h", "#ifndef SERVER_RPC_X_H_\n#define SERVER_RPC_X_H_\n#endif\n", 1, "guard"),
    ("server/rpc/x.h", "#pragma once\n", 1, "guard"),
    ("server/rpc/x.h", "#ifndef MUSTER_SERVER_RPC_X_H_\n#define MUSTER_SERVER_RPC_X_H_\n#endif\n", 3, "guard"),
    ("deploy/x.sh", "# FIX" + "ME: later\n", 1, "fixme"),
    ("proto/x.proto", "\n// TO" + "DO: later\n", 2, "todo"),
    ("server/rpc/x.cc", "// TO" + "DO(somebody): later\n", 1, "todo"),
    ("client/CMakeLists.txt", "file(GLOB_RECURSE sources *.cc)\n", 1, "cmake"),
    ("cmake/X.cmake", 'set(CMAKE_CXX_FLAGS "-O3")\n', 1, "cmake"),
    ("server/rpc/README.md", "short\n", 1, "readme"),
    ("server/rpc/README.md", "long\n" * 81, 81, "readme"),
    ("server/rpc/README.md", None, 1, "readme"),
    ("tests/support/README.md", None, 1, "readme"),
    ("storage/README.md", None, 1, "readme"),
]


def long_header():
    begin = "#ifndef MUSTER_SERVER_REGISTRY_X_H_\n#define MUSTER_SERVER_REGISTRY_X_H_\n"
    return begin + "\n" * 298 + "#endif  // MUSTER_SERVER_REGISTRY_X_H_\n"


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def write_good_tree(root):
    for path, text in GOOD.items():
        write(root, path, text)
    for folder in FOLDERS:
        write(root, folder + "/README.md", README)
    write(root, "server/registry/README.md", README.replace("nothing", "`storage/base`"))


def write_bad_sample(root, path, text):
    if path.endswith("README.md"):
        folder = path.removesuffix("README.md")
        write(root, folder + "source.cc", "")
    for folder in pathlib.PurePosixPath(path).parents:
        if folder.name and not (root / folder / "README.md").exists():
            write(root, f"{folder}/README.md", README)
    if text is None and path.endswith("README.md"):
        (root / path).unlink()
    else:
        write(root, path, long_header() if text is None else text)


class StyleLimitsTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        write_good_tree(self.root)

    def test_good_tree_has_no_findings(self):
        findings, sources = style_limits.check_tree(self.root)
        self.assertEqual(findings, [])
        self.assertEqual(sources, sum(path.endswith((".h", ".cc")) for path in GOOD))

    def test_each_bad_sample_is_found_at_its_line(self):
        for number, (path, text, line, rule) in enumerate(BAD):
            with self.subTest(sample=number, path=path, rule=rule), tempfile.TemporaryDirectory() as holder:
                root = pathlib.Path(holder)
                write_good_tree(root)
                write_bad_sample(root, path, text)
                found = {(finding.path, finding.line, finding.rule) for finding in style_limits.check_tree(root)[0]}
                self.assertEqual(found, {(path, line, rule)})

    def test_every_rule_has_a_bad_sample(self):
        rules = {rule for rule, *_ in style_limits.CODE_RULES + style_limits.INCLUDE_RULES}
        rules |= {"size", "function", "guard", "fixme", "todo", "cmake", "readme"}
        self.assertEqual(rules, {rule for *_, rule in BAD})

    def test_command_prints_file_line_rule_and_fails(self):
        write(self.root, "server/registry/bad.cc", "\nint r = rand();\n")
        result = subprocess.run([sys.executable, SCRIPT, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("server/registry/bad.cc:2: rand: ", result.stdout)

    def test_command_succeeds_on_a_good_tree(self):
        result = subprocess.run([sys.executable, SCRIPT, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_wrong_root_does_not_look_clean(self):
        result = subprocess.run(
            [sys.executable, SCRIPT, "--root", self.root / "absent"], capture_output=True, text=True, check=False
        )
        self.assertEqual(result.returncode, 2)


class FunctionsTest(unittest.TestCase):
    def lengths(self, text):
        return list(cpp_text.functions(text))

    def test_functions_inside_namespaces_and_classes(self):
        text = "namespace a {\nclass B final : public C<int()> {\n public:\n  int f() const {\n    return 1;\n  }\n};\n}\n"
        self.assertEqual(self.lengths(text), [(4, 3)])

    def test_class_with_attribute_macro_is_a_type(self):
        self.assertEqual(self.lengths('class X(capability("m")) M {\n  void f() {\n  }\n};\n'), [(2, 2)])

    def test_nested_types_after_a_label_are_types(self):
        text = "class A {\n private:\n  struct B {\n    int f() { return 1; }\n  };\n};\n"
        self.assertEqual(self.lengths(text), [(4, 1)])

    def test_templates_and_long_heads_begin_at_the_first_line(self):
        self.assertEqual(self.lengths("template <class T>\nT f(T a,\n    T b) {\n  return a;\n}\n"), [(1, 5)])

    def test_lambdas_and_blocks_count_for_their_function(self):
        self.assertEqual(self.lengths("void f() {\n  auto g = [](int a) {\n    if (a) { h(); }\n  };\n}\n"), [(1, 5)])

    def test_tests_are_functions(self):
        self.assertEqual(self.lengths("TEST(A, B) {\n}\n"), [(1, 2)])

    def test_initialisers_are_not_functions(self):
        self.assertEqual(self.lengths("const int kA[] = {\n 1,\n};\nint b{3};\n"), [])

    def test_braces_in_literals_comments_and_macros_do_not_count(self):
        text = "#define X(a) { \\\n  {{\nvoid f() {\n  g('{', \"{\", R\"({\")\"); // {\n  int n = 1'000; /* { */\n}\n"
        self.assertEqual(self.lengths(text), [(3, 4)])


if __name__ == "__main__":
    unittest.main()
