#!/usr/bin/env python3
"""Feeds bad pages to the checks, so that they can't silently pass."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import check_pages
from pages import Page


class CheckPagesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name) / "project"
        self.write("README.md", "# Front\n\nSee [docs](docs/README.md) and [there](docs/README.md#two-words).\n")
        self.write("docs/README.md", "# Index\n\n## Two `words`\n\n## Two words\n\n[up](../README.md), [here](#index)\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def found(self):
        findings, _ = check_pages.check_tree(self.root)
        return [(finding.path, finding.line, finding.rule) for finding in findings]

    def test_a_good_tree_is_clean(self):
        self.assertEqual(self.found(), [])

    def test_broken_links_are_found(self):
        cases = {
            "[a](nothing.md)": "a file that is not there",
            "[a](README.md#nothing)": "a heading that is not there",
            "[a](#nothing)": "a heading of this page",
            "[a](README.md#two-words-2)": "a third heading of that name",
            "[a](/docs/README.md)": "not relative",
            "[a](../../other/README.md)": "out of the project",
            "[`code` in it](nothing.md)": "code in the text",
            "| [a](nothing.md) | in a table |": "in a table",
            "- [a\n  b](nothing.md)": "over two lines",
            "    - not code, as a line of text goes before [a](nothing.md)": "an indented line that is no code",
        }
        for text, what in cases.items():
            with self.subTest(what):
                self.write("docs/page.md", f"# Page\n\ntext\n{text}\n")
                self.assertEqual(self.found(), [("docs/page.md", 4, "link")])

    def test_good_links_and_code_are_left_alone(self):
        for text in (
            "[a](README.md#two-words-1)", "[a](../docs)", "[a](https://example.org/x#y)", "`[a](nothing.md)`",
            "\n    [a](nothing.md)", "```\n[a](nothing.md)\n```", "- item\n\n      [a](nothing.md)", "<!-- [a](nothing.md) -->",
            "[a](../code.txt#L2)",
        ):  # fmt: skip
            with self.subTest(text):
                self.write("code.txt", "1\n2\n")
                self.write("docs/page.md", f"# Page\n\n{text}\n")
                self.assertEqual(self.found(), [])

    def test_a_line_that_is_not_there_is_found(self):
        self.write("code.txt", "1\n2\n")
        self.write("docs/page.md", "[a](../code.txt#L3)\n")

        self.assertEqual(self.found(), [("docs/page.md", 1, "link")])

    def test_pages_of_every_folder_are_read(self):
        for name in ("CONTRIBUTING.md", "client/sdk/README.md", "server/x/decisions/why.md", "tests/docs/README.md"):
            with self.subTest(name):
                self.write(name, "[a](nothing.md)\n")
                self.assertEqual(self.found(), [(name, 1, "link")])
                (self.root / name).unlink()

    def test_a_front_page_that_is_too_long_or_too_wide_is_found(self):
        self.write("README.md", "line\n" * 150)
        self.assertEqual(self.found(), [])
        self.write("README.md", "line\n" * 151)
        self.assertEqual(self.found(), [("README.md", 151, "length")])
        self.write("README.md", "| " + "x" * 118 + "\n\n    " + "x" * 117 + "\n")
        self.assertEqual(self.found(), [("README.md", 3, "columns")])

    def test_prose_of_docs_is_wrapped_and_output_is_not(self):
        wide = "x" * 121
        self.write("docs/page.md", f"text\n\n    {wide}\n\n```\n{wide}\n```\n\n| {wide} |\n")
        self.assertEqual(self.found(), [])
        self.write("docs/page.md", f"text\n{wide}\n")
        self.assertEqual(self.found(), [("docs/page.md", 2, "columns")])

    def test_the_program_fails_at_a_finding_and_where_nothing_is_to_check(self):
        def code(root):
            program = pathlib.Path(check_pages.__file__)
            done = subprocess.run([sys.executable, "-B", program, "--root", root], capture_output=True, check=False)
            return done.returncode

        self.assertEqual(code(self.root), 0)
        self.write("docs/page.md", "[a](nothing.md)\n")
        self.assertEqual(code(self.root), 1)
        self.assertEqual(code(self.root / "nothing"), 2)


class PageTest(unittest.TestCase):
    def test_blocks_have_their_lines_and_languages(self):
        page = Page("text\n\n    a\n\n    b\n\n```console\n$ c\n```\n- item\n\n      d\n")

        self.assertEqual(
            [(block.line, block.language, block.lines) for block in page.blocks],
            [(3, "", ["a", "", "b"]), (8, "console", ["$ c"]), (12, "", ["d"])],
        )

    def test_code_that_is_broken_over_two_lines_is_one_span(self):
        self.assertEqual(Page("x `muster\nwait` y ``a`b``").spans(), [(1, "muster wait"), (2, "a`b")])

    def test_comments_are_kept_apart(self):
        page = Page("<!-- run -->\n<!-- prepare\n$ a\n-->\ntext\n")

        self.assertEqual([(one.line, one.text.split()) for one in page.comments], [(1, ["run"]), (2, ["prepare", "$", "a"])])
        self.assertEqual(Page("text\n\n    <!-- run -->\n").comments, [])


if __name__ == "__main__":
    unittest.main()
