#!/usr/bin/env python3
"""Feeds bad trees to the rules between folders, so that they can't silently pass."""

import unittest

import rooms

SOURCES = {
    "storage/base/clock.h": "#include <vector>\n",
    "storage/base/reasons.h": 'inline constexpr char kStoreFull[] = "STORE_FULL";\n',
    "storage/base/limits.h": "inline constexpr int kMaxNodes = 3;\n",
    "server/registry/registry.h": '#include "storage/base/clock.h"\n#include "muster/v1/node.pb.h"\n',
    "server/rpc/service.cc": '#include "server/registry/registry.h"\nauto s = "STORE_FULLER";  // "STORE_FULL"\n',
}
READMES = {
    "storage/base/README.md": "# base\n\nMay include: nothing.\n",
    "server/registry/README.md": "# registry\n\nMay include: `proto`,\n`storage/base`.\n",
    "server/rpc/README.md": "# rpc\n\nMay include: `server/registry`.\n",
}


def findings(sources=None, readmes=None):
    sources = {**SOURCES, **(sources or {})}
    readmes = {**READMES, **(readmes or {})}
    found = [*rooms.check_rooms(sources, readmes), *rooms.check_words(sources)]
    return [(finding.path, finding.line, finding.message) for finding in found]


class RoomsTest(unittest.TestCase):
    def test_good_tree_has_no_findings(self):
        self.assertEqual(findings(), [])

    def test_include_that_the_readme_does_not_allow(self):
        ((path, line, message),) = findings({"server/rpc/other.cc": '\n#include "storage/base/clock.h"\n'})
        self.assertEqual((path, line), ("server/rpc/other.cc", 2))
        self.assertIn("includes storage/base", message)

    def test_readme_that_allows_what_nothing_includes(self):
        ((path, _, message),) = findings(readmes={"server/rpc/README.md": "May include: `proto`, `server/registry`.\n"})
        self.assertEqual(path, "server/rpc/README.md")
        self.assertIn("allows proto", message)

    def test_readme_without_the_line(self):
        ((path, _, message),) = findings(readmes={"server/rpc/README.md": "# rpc\n"})
        self.assertEqual(path, "server/rpc/README.md")
        self.assertIn("lacks the line", message)

    def test_circle_of_folders_even_where_both_readmes_allow_it(self):
        found = findings(
            {"server/registry/back.cc": '#include "server/rpc/service.h"\n'},
            {"server/registry/README.md": "May include: `proto`, `server/rpc`, `storage/base`.\n"},
        )
        self.assertEqual(len(found), 1)
        self.assertIn("server/registry -> server/rpc -> server/registry", found[0][2])

    def test_reason_that_is_spelled_again(self):
        found = findings({"client/cli/x.cc": 'auto r = "STORE_FULL";\n'}, {"client/cli/README.md": "May include: nothing.\n"})
        self.assertEqual([(path, line) for path, line, _ in found], [("client/cli/x.cc", 1)])
        self.assertIn("reasons::kStoreFull", found[0][2])

    def test_shared_limit_that_is_defined_again(self):
        found = findings({"server/rpc/y.cc": "constexpr size_t kMaxNodes = 3;\n"})
        self.assertEqual([(path, line) for path, line, _ in found], [("server/rpc/y.cc", 1)])

    def test_constant_of_two_headers(self):
        found = findings({"server/rpc/a.h": "inline constexpr int kSame = 1;\n", "server/rpc/b.h": "inline constexpr int kSame = 1;\n"})
        self.assertEqual([(path, line) for path, line, _ in found], [("server/rpc/b.h", 1)])


if __name__ == "__main__":
    unittest.main()
