"""A Markdown page as the checks need it: its links and anchors, its inline code and its code blocks.

Knows the Markdown that this project writes: fenced and indented code, inline links, headings with #. Python's standard library
alone.
"""

import collections
import pathlib
import re

# `line` counts from 1. A block's line is that of its first line of code; `language` is "" where none is named.
Link = collections.namedtuple("Link", "line target")
Span = collections.namedtuple("Span", "line text")
Block = collections.namedtuple("Block", "line language lines")
# An HTML comment of one or more lines, without its marks.
Comment = collections.namedtuple("Comment", "line text")

_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LIST_ITEM = re.compile(r"(\s*)(?:[-*+]|\d+[.)])(\s+)\S")


class Page:
    """One file, read once."""

    def __init__(self, text):
        self.lines = text.splitlines()
        self.blocks = []
        self.comments = []
        # The page with code blocks and comments blanked, by line.
        self.prose = list(self.lines)
        self._split()

    @classmethod
    def read(cls, path):
        return cls(pathlib.Path(path).read_text(encoding="utf-8"))

    def links(self):
        text = _SPAN.sub(lambda match: _blank(match.group()), "\n".join(self.prose))
        return [Link(_line_of(text, match.start()), match.group(1)) for match in _LINK.finditer(text)]

    def spans(self):
        """Inline code; one that is broken over two lines has a space there."""
        text = "\n".join(self.prose)
        return [Span(_line_of(text, match.start()), " ".join(match.group(2).split())) for match in _SPAN.finditer(text)]

    def anchors(self):
        """What `#...` may name, as GitHub makes it from headings."""
        seen, anchors = collections.Counter(), set()
        for line in self.prose:
            heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
            if heading:
                slug = _slug(heading.group(1))
                anchors.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
                seen[slug] += 1
        return anchors | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", "\n".join(self.prose)))

    def _split(self):
        number, content_indent = 0, 0
        blank_before = True
        while number < len(self.lines):
            line = self.lines[number]
            indent = len(line) - len(line.lstrip())
            end = number + 1
            if not line.strip():
                blank_before = True
                number += 1
                continue
            fence = re.match(r"\s*(```+|~~~+)\s*(\S*)", line)
            if blank_before and indent >= content_indent + 4:
                end = self._indented(number, content_indent + 4)
            elif fence:
                end = self._fenced(number, indent, fence)
            elif line.lstrip().startswith("<!--"):
                end = self._comment(number)
            else:
                item = _LIST_ITEM.match(line)
                if item:
                    content_indent = item.end() - 1
                elif indent < content_indent and blank_before:
                    content_indent = 0
            blank_before = False
            number = end

    def _fenced(self, number, indent, fence):
        end = number + 1
        while end < len(self.lines) and not self.lines[end].strip().startswith(fence.group(1)):
            end += 1
        code = [line[indent:] if not line[:indent].strip() else line for line in self.lines[number + 1 : end]]
        self.blocks.append(Block(number + 2, fence.group(2), code))
        return self._blank_out(number, end + 1)

    def _indented(self, number, indent):
        end = number
        while end < len(self.lines) and (not self.lines[end].strip() or not self.lines[end][:indent].strip()):
            end += 1
        while not self.lines[end - 1].strip():
            end -= 1
        self.blocks.append(Block(number + 1, "", [line[indent:] for line in self.lines[number:end]]))
        return self._blank_out(number, end)

    def _comment(self, number):
        end = number
        while end < len(self.lines) and "-->" not in self.lines[end]:
            end += 1
        text = "\n".join(self.lines[number : end + 1]).strip()
        self.comments.append(Comment(number + 1, text.removeprefix("<!--").partition("-->")[0]))
        return self._blank_out(number, end + 1)

    def _blank_out(self, begin, end):
        for number in range(begin, min(end, len(self.prose))):
            self.prose[number] = ""
        return end


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def _line_of(text, position):
    return text.count("\n", 0, position) + 1


def _slug(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def all_pages(root):
    """Every page of the project, sorted; what is built is left out."""
    root = pathlib.Path(root)
    pages = list(root.glob("*.md"))
    for folder in ("docs", "proto", "storage", "server", "client", "tests", "cmake", "deploy", "examples"):
        pages += (root / folder).rglob("*.md")
    return sorted(path for path in pages if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts))
