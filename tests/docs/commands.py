"""Which commands and flags pages name, and whether the programs know them."""

import functools
import pathlib
import re
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Scripts by the names that pages give them. Those that are their own documentation in --help.
SCRIPTS = (
    "deploy/quickstart.sh",
    "tests/run.sh",
    "tests/setup_tools.sh",
    "tests/bench/run.sh",
    "tests/fuzz/run.sh",
    "tests/style_limits/style_limits.py",
    "tests/docs/check_pages.py",
)
# Flags that pages name by themselves, of programs that are not ours.
FOREIGN_FLAGS = {
    "--component": "cmake --install",
    "--parallel": "curl, ctest",
    "--size": "tests/integration/conftest.py",
}
# Words of the shell after which a command begins.
_OPENERS = {"do", "then", "else", "exec", "time", "!", "{", "("}
_SHELL_LANGUAGES = {"", "console", "sh", "shell", "bash"}
_FLAG = re.compile(r"--[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class Programs:
    """What --help of each program says. `muster` and `musterd` are paths."""

    def __init__(self, muster, musterd):
        self._paths = {"muster": muster, "musterd": musterd}
        self._paths |= {script: ROOT / script for script in SCRIPTS}
        self.names = set(self._paths)

    @functools.lru_cache(maxsize=None)
    def help(self, program, *commands):
        done = subprocess.run(
            [self._paths[program], *commands, "--help"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    @functools.lru_cache(maxsize=None)
    def flags(self, program, *commands):
        """Only what stands where options are described: help texts name flags of other commands, too."""
        text = self.help(program, *commands)
        if program in SCRIPTS:
            return set(_FLAG.findall(text)) | {"--help"}
        described = re.findall(r"^  ((?:-\w,)*--[\w-]+(?:,\s*--?[\w-]+)*)", text, re.MULTILINE)
        flags = set(_FLAG.findall(" ".join(described)))
        return flags | (self.flags(program) if commands else set())

    @functools.lru_cache(maxsize=None)
    def subcommands(self, program, *commands):
        if program in SCRIPTS:
            return frozenset()
        section = re.search(r"^Subcommands:\n((?:[ ]+.*\n|\n)*)", self.help(program, *commands), re.MULTILINE)
        return frozenset(re.findall(r"^  (\S+)", section.group(1), re.MULTILINE)) if section else frozenset()

    def all_flags(self):
        """Every flag of every command of every program."""
        flags = set(FOREIGN_FLAGS)
        for program in self.names:
            todo = [()]
            while todo:
                commands = todo.pop()
                flags |= self.flags(program, *commands)
                todo += [(*commands, name) for name in self.subcommands(program, *commands)]
        return flags


# What a page prints below a command line that is a mistake on purpose.
_MISTAKE = re.compile(r"^muster: (unknown command|`[^`]*` has no option)")


def shell_lines(block):
    """(line, text) of each command of a block: of those after a prompt where it has prompts, else of every line. Those that
    the page shows to be mistakes are left out."""
    if block.language not in _SHELL_LANGUAGES:
        return
    has_prompts = any(line.startswith("$ ") for line in block.lines)
    number = 0
    while number < len(block.lines):
        begin, line = number, block.lines[number]
        if line.startswith("$ ") or (not has_prompts and line.strip()):
            text = line.removeprefix("$ ")
            while text.endswith("\\") and number + 1 < len(block.lines):
                number += 1
                text = text[:-1] + " " + block.lines[number].strip()
            after = block.lines[number + 1] if number + 1 < len(block.lines) else ""
            if not (has_prompts and _MISTAKE.match(after)):
                yield block.line + begin, text
        number += 1


def statements(text):
    """The words of each simple command of a shell line, without what is assigned before it."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = []
    try:
        tokens = list(lexer)
    except ValueError:
        tokens = text.split()
    for token in [*tokens, ";"]:
        ends = re.fullmatch(r"[();<>|&]+", token)
        if not ends and not (not words and (token in _OPENERS or re.match(r"\w+=", token))):
            words.append(token)
        elif ends and words:
            yield words
            words = []


def check_words(programs, words):
    """Says what is wrong with one command line of ours; [] for those of others."""
    program = words[0].removeprefix("./").removeprefix("build/release/bin/")
    if program not in programs.names:
        return []
    problems, commands, vague = [], [], False
    takes_value = False
    for word in words[1:]:
        word = word.strip("[],.…")
        if re.fullmatch(r"-[a-z]", word):
            takes_value = word in ("-o",)
            continue
        flag = _FLAG.match(word)
        if flag:
            name = flag.group()
            known = programs.all_flags() if vague else programs.flags(program, *commands)
            if name not in known:
                problems.append(f"`{' '.join([program, *commands])}` has no flag {name}")
            takes_value = "=" not in word
            continue
        choices = programs.subcommands(program, *commands)
        if word in choices:
            commands.append(word)
        elif choices and re.fullmatch(r"[A-Z]+", word):
            vague = True  # A placeholder, as in `muster COMMAND --help`.
        elif choices and not commands and not takes_value and re.fullmatch(r"[a-z][a-z-]*", word) and not vague:
            problems.append(f"`{program}` has no command {word}")
            break
        elif choices and len(commands) == 1 and not takes_value and not vague and _needs_command(programs, program, commands):
            problems.append(f"`{program} {commands[0]}` has no command {word}")
            break
        takes_value = False
    return problems


def _needs_command(programs, program, commands):
    """Whether a word after `commands` can only be another command: it takes no values of its own."""
    usage = re.search(r"^Usage: (.*)$", programs.help(program, *commands), re.MULTILINE)
    positional = re.sub(r"\[OPTIONS\]|\[?SUBCOMMAND\]?", "", usage.group(1)) if usage else ""
    return re.search(r"\b[A-Z]{2,}", positional) is None


def check_span(programs, text):
    """Of inline code: a command line, the rest of one after `muster`, or a flag by itself."""
    if text.startswith("--"):
        return [f"no program has a flag {flag}" for flag in _flags_of(text) if flag not in programs.all_flags()]
    first = text.split()[0] if text.split() else ""
    if first in programs.subcommands("muster") and "--" in text:
        text = f"muster {text}"
    return [problem for words in statements(text) for problem in check_words(programs, words)]


def _flags_of(text):
    return [match.group() for word in text.split() if (match := _FLAG.match(word))]


def check_page(programs, page):
    """(line, problem) of each command or flag that a page names and that is not there."""
    for span in page.spans():
        for problem in check_span(programs, span.text):
            yield span.line, problem
    for block in page.blocks:
        for line, text in shell_lines(block):
            for words in statements(text):
                for problem in check_words(programs, words):
                    yield line, problem
    for comment in page.comments:
        for offset, text in enumerate(comment.text.splitlines()):
            if text.startswith("$ "):
                for words in statements(text[2:]):
                    for problem in check_words(programs, words):
                        yield comment.line + offset, problem
