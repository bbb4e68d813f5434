#!/usr/bin/env python3
"""Tests .githooks/commit-msg as git runs it: a file with the message in, an exit code and stderr out."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOOK = ROOT / ".githooks" / "commit-msg"


def run_hook(message):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "COMMIT_EDITMSG"
        file.write_text(message, encoding="utf-8")
        return subprocess.run([sys.executable, "-B", HOOK, file], capture_output=True, text=True, timeout=60, check=False)


class CommitMsgTest(unittest.TestCase):
    def assert_taken(self, message):
        done = run_hook(message)
        self.assertEqual((done.returncode, done.stderr), (0, ""), message)

    def assert_refused(self, message, why):
        done = run_hook(message)
        self.assertEqual(done.returncode, 1, message)
        self.assertIn(why, done.stderr)

    def test_subjects_of_the_right_form_are_taken(self):
        self.assert_taken("registry: refuse reports of older epochs\n")
        self.assert_taken("tests/bench: measure pulls from S3\n\nThe body may be as long as it likes. " + "x" * 200 + "\n")
        self.assert_taken("transfer, checkpoint: name the limits once\n")

    def test_sixty_characters_are_the_most(self):
        prefix = "area: do "
        self.assert_taken(prefix + "x" * (60 - len(prefix)) + "\n")
        self.assert_refused(prefix + "x" * (61 - len(prefix)) + "\n", "61 characters")

    def test_characters_are_counted_and_not_bytes(self):
        prefix = "area: do "
        self.assert_taken(prefix + "é" * (60 - len(prefix)) + "\n")

    def test_subject_without_area_is_refused(self):
        for subject in ("Fix the thing", "fix the thing", "Registry: refuse it", "registry:refuse it", ": refuse it",
                        "registry: "):
            self.assert_refused(subject + "\n", "area: verb")

    def test_verb_is_in_lower_case(self):
        self.assert_refused("registry: Refuse reports\n", "lower case")

    def test_full_stop_is_refused(self):
        self.assert_refused("registry: refuse reports.\n", "full stop")

    def test_every_complaint_is_told(self):
        done = run_hook("X" * 70 + ".\n")
        self.assertEqual(len(done.stderr.splitlines()), 3, done.stderr)

    def test_comments_and_blank_lines_before_the_subject_are_skipped(self):
        self.assert_taken("\n# On branch main\nregistry: refuse it\n")
        self.assert_refused("# registry: refuse it\nno area\n", "area: verb")

    def test_what_git_writes_itself_is_taken(self):
        for subject in ("Merge branch 'main' into docs", 'Revert "registry: refuse it"', "fixup! registry: refuse it"):
            self.assert_taken(subject + "\n")

    def test_empty_message_is_left_to_git(self):
        self.assert_taken("")
        self.assert_taken("# only comments\n")
        # As `git commit --verbose` leaves it where nothing was written.
        self.assert_taken("\n# ------------------------ >8 ------------------------\ndiff --git a/x b/x\n")

    def test_git_runs_it(self):
        with tempfile.TemporaryDirectory() as folder:
            def git(*arguments):
                return subprocess.run(
                    ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-c", f"core.hooksPath={HOOK.parent}",
                     "-c", "commit.gpgSign=false", *arguments],
                    cwd=folder, capture_output=True, text=True, timeout=60, check=False)

            self.assertEqual(git("init", "-q").returncode, 0)
            refused = git("commit", "-q", "--allow-empty", "-m", "No area")
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("commit-msg: 'No area'", refused.stderr)
            taken = git("commit", "-q", "--allow-empty", "-m", "area: do something")
            self.assertEqual(taken.returncode, 0, taken.stderr)


if __name__ == "__main__":
    unittest.main()
