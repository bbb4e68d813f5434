"""The blocks of the pages that are marked for it are run, and print what the pages show."""

import textwrap

import pytest
from pages import Page, all_pages
from runner import ROOT, commands_of, matches, run_page

# At least these are run: a mark that is lost must not look like a page that is right.
ALWAYS_RUN = {"README.md", "docs/publishing.md", "docs/upgrade-and-rollback.md", "docs/api.md"}


def marked(path):
    return any(comment.text.split()[:1] in (["run"], ["prepare"]) for comment in Page.read(path).comments)


RUN = [path.relative_to(ROOT).as_posix() for path in all_pages(ROOT) if marked(path)]


@pytest.mark.parametrize("name", RUN)
def test_page_runs_as_it_is_shown(name, tmp_path):
    found = [f"{name}:{finding.line}: {finding.message}" for finding in run_page(ROOT / name, tmp_path / "run")]

    assert not found, "\n".join(found)


def test_the_guides_are_run():
    assert set(RUN) >= ALWAYS_RUN
    assert all(commands_of(Page.read(ROOT / name)) for name in ALWAYS_RUN)


@pytest.fixture(name="run")
def make_run(tmp_path):
    """Runs a block of a page; returns the findings."""

    def run(block, timeout=20.0):
        page = tmp_path / "page.md"
        page.write_text(f"# Page\n\n<!-- run -->\n```console\n{textwrap.dedent(block).strip()}\n```\n", encoding="utf-8")
        return run_page(page, tmp_path / "run", timeout)

    return run


@pytest.mark.parametrize(
    ("block", "line", "says"),
    [
        ("$ echo hello\ngoodbye", 5, "+hello"),
        ("$ echo hello", 5, "+hello"),
        ("$ echo hello\nhello\nand more", 5, "-and more"),
        ("$ true\n$ printf 'a\\nb\\n'\na", 6, "+b"),
        ("$ false", 5, "ended with 1"),
        ("$ echo 'muster: no'\nmuster: no", 5, "ended with 0"),
        ("$ no-such-program\n…", 5, "ended with 127"),
        ("$ echo /srv/x\n/srv/y", 5, "+/srv/x"),
    ],
)
def test_output_and_exit_codes_that_differ_are_found(run, block, line, says):
    findings = run(block)

    assert [finding.line for finding in findings] == [line]
    assert says in findings[0].message


def test_what_never_ends_or_never_comes_is_found(run):
    assert "did not end within 1 s" in run("$ tail -f /dev/null", timeout=1.0)[0].message


def test_output_of_what_runs_on_is_awaited(run):
    assert run("$ (seq 1000000 | tail -n 1; echo last; tail -f /dev/null) &\n1000000\nlast\n$ echo a\na") == []


def test_output_that_never_comes_is_found(run):
    assert "the output is another one after 1 s" in run("$ { echo a; tail -f /dev/null; } &\nb", timeout=1.0)[0].message


def test_right_blocks_pass(run):
    block = """
        $ mkdir -p /srv/store && X=1
        $ echo "$X at file:///srv/store, port :7070, $MUSTER_SERVER"
        1 at file:///srv/store, port :7070, 127.0.0.1:7070
        $ printf 'a\\nb\\nc\\n'
        a
        …
        $ echo one \\
            two
        one two
        $ echo 'muster: it is not there' && false
        muster: it is not …
        """

    assert run(block) == []


def test_a_mark_without_a_block_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\ntext\n", encoding="utf-8")

    assert [finding.line for finding in run_page(page, tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("published in 0 s at v1-3a58e77b0bb3-1", "published in 1 min 2 s at v1-0123456789ab-14"),
        ('"revision": "8",', '"revision": "27",'),
        ("20:57:12.8  28", "01:02:03.4  28"),
        ("-r--r--r-- 1 root root 15 Nov 26 05:36 a", "-r--r--r-- 1 me us   15 Jan  1 00:00 a"),
        ("demo WAITING: 0 of 3 nodes joined\ndone", "demo LOADING: 1 of 3\ndone"),
        ("NAME  SIZE", "NAME     SIZE"),
        ("a\nn1  2/2\nn2  1/1", "a\nn1  1/1\nn2  2/2"),
        ('"node": "nodes/n3",', '"node": "nodes/n1",'),
        ("a … c", "a b c"),
        ("…\nc", "c"),
        ("a\n…", "a\nb\nc"),
    ],
)
def test_what_varies_is_alike(shown, printed):
    assert matches(shown.splitlines(), printed.splitlines())


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("6 shards in 0 s", "7 shards in 0 s"),
        ('"index": "8",', '"index": "9",'),
        ('"md5": "45b338dd57feb1439794db59a3a8ad10"', '"md5": "45b338dd57feb1439794db59a3a8ad11"'),
        ("a\nb", "a"),
        ("n1  2/2\nn2  1/1", "n1  2/2\nn2  2/2"),
        ("a … c", "a\nc"),
        ("-r--r--r-- 1 root root 15 Nov 26 05:36 a", "-r--r--r-- 1 root root 16 Nov 26 05:36 a"),
    ],
)
def test_what_matters_is_not_alike(shown, printed):
    assert not matches(shown.splitlines(), printed.splitlines())
