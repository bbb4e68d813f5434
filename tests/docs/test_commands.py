"""Every command and flag that a page names is one of our programs'."""

import pathlib

import pytest
from commands import ROOT, Programs, check_page
from harness.cluster import binary
from pages import Page, all_pages

# History: it may name what is gone.
LEFT_OUT = {"CHANGELOG.md"}


def pages_to_check():
    names = [path.relative_to(ROOT) for path in all_pages(ROOT)]
    return [str(name) for name in names if str(name) not in LEFT_OUT and "decisions" not in name.parts]


@pytest.fixture(scope="module", name="programs")
def make_programs():
    return Programs(binary("muster"), binary("musterd"))


def problems_of(programs, text):
    return [problem for _, problem in check_page(programs, Page(text))]


@pytest.mark.parametrize("name", pages_to_check())
def test_commands_and_flags_exist(programs, name):
    found = [f"{name}:{line}: {problem}" for line, problem in check_page(programs, Page.read(pathlib.Path(ROOT, name)))]

    assert not found, "\n".join(found)


def test_the_programs_say_what_they_know(programs):
    assert {"publish", "agent", "nodes"} <= programs.subcommands("muster")
    assert {"drain", "resume-moves"} <= programs.subcommands("muster", "nodes")
    assert "--strategy" in programs.flags("muster", "publish")
    assert "--strategy" not in programs.flags("muster", "agent")
    assert "--server" in programs.flags("muster", "nodes", "drain")
    assert "--move-grace" in programs.flags("musterd")
    assert "--agents" in programs.flags("deploy/quickstart.sh")


@pytest.mark.parametrize(
    "text",
    [
        "`muster publis`",
        "`muster publish --strateg layer`",
        "`muster wait demo --strategy layer`",
        "`muster nodes drian n1`",
        "`muster --sever x status`",
        "`musterd --data-dirs x`",
        "`publish --no-such-flag`",
        "`--no-such-flag`",
        "`deploy/quickstart.sh --agent 3`",
        "`tests/run.sh --msan`",
        "    muster publish a --model b@c --tow d",
        "    X=1 muster publish a --tow d && echo",
        "```console\n$ echo; muster publish a \\\n    --tow d\n```",
        "```sh\nfor n in 1 2; do muster agent --nod $n & done\n```",
        "<!-- prepare\n$ muster publish a --tow d\n-->",
    ],
)
def test_what_does_not_exist_is_found(programs, text):
    assert len(problems_of(programs, f"# Page\n\n{text}\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`muster --server a --json nodes drain n1 --wait --timeout 3s`",
        "`muster COMMAND --help`",
        "`muster publish`, `--claim ranks:0-7`, `agent --dry-run`",
        "`cmake --build build --target x`",
        "    muster pull llama@v1 --out DIR --shards 0,3-5   # not a flag: --tow",
        "```console\n$ muster models\nmuster: no such --flag\n```",
        "```cpp\nmuster::Client --x;\n```",
        "`muster agent --on-ready 'systemctl --x start'`",
    ],
)
def test_what_exists_is_left_alone(programs, text):
    assert problems_of(programs, f"# Page\n\n{text}\n") == []
