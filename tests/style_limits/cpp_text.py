"""Reads C++ source just well enough for style checks: blanks comments and literals, finds functions."""

import re

_TOKEN = re.compile(
    r"""
    (?P<line_comment>//(?:[^\n\\]|\\.|\\\n)*)
  | (?P<block_comment>/\*.*?(?:\*/|\Z))
  | (?P<raw>\b(?:u8|u|U|L)?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)")
  | (?P<number>\b[0-9](?:'?[0-9a-zA-Z_.])*)
  | (?P<string>"(?:[^"\\\n]|\\.|\\\n)*")
  | (?P<char>'(?:[^'\\\n]|\\.)+')
    """,
    re.VERBOSE | re.DOTALL,
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.MULTILINE)
_LABEL = re.compile(r"\b(?:public|private|protected)\s*:(?!:)")
_CONTAINER = re.compile(
    r"\s*(?:template\s*<[^;{}]*>\s*)?(?:inline\s+)?(?:typedef\s+)?(?:namespace|class|struct|union|enum|extern)\b"
)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """`text` with comments blanked; every other character keeps its place."""

    def replace(match):
        return _blank(match.group()) if match.lastgroup.endswith("comment") else match.group()

    return _TOKEN.sub(replace, text)


def code_only(text):
    """`text` with comments and the contents of string and character literals blanked."""

    def replace(match):
        if match.group("number"):
            return match.group()
        if match.group("line_comment") or match.group("block_comment"):
            return _blank(match.group())
        return '"' + _blank(match.group()[1:-1]) + '"'

    return _TOKEN.sub(replace, text)


def line_of(text, offset):
    """The number of the line at `offset`, from 1."""
    return text.count("\n", 0, offset) + 1


def includes(text):
    """Yields (line, path) of every include in `text`."""
    clean = without_comments(text)
    for match in _INCLUDE.finditer(clean):
        yield line_of(clean, match.start(1)), match.group(1)


def functions(text):
    """Yields (first line, number of lines) of every function definition that is not inside another one.

    A heuristic: a brace opens a namespace or a type if its head, back to the last `;` or brace, begins like
    one, and a function if the head has a `)`. Lambdas count as lines of the function around them.
    """
    code = _DIRECTIVE.sub(lambda match: _blank(match.group()), code_only(text))
    code = _LABEL.sub(lambda match: _blank(match.group()), code)
    depth = 0  # Braces since the outermost one that is no namespace or type.
    start = None  # Where the function at hand begins.
    head_begin = 0
    for match in re.finditer(r"[{};]", code):
        token = match.group()
        if depth > 0:
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth == 0 and start is not None:
                first = line_of(code, start)
                yield first, line_of(code, match.start()) - first + 1
                start = None
        elif token == "{":
            head = code[head_begin : match.start()]
            if not _CONTAINER.match(head):
                depth = 1
                if ")" in head:
                    start = head_begin + len(head) - len(head.lstrip())
        head_begin = match.end()
