"""What lies in the cache directory of an agent."""

import pathlib
import re


def entries(cache):
    """The files that count as shards: neither markers nor what lies beside an entry or belongs to a part."""
    return [
        path
        for path in pathlib.Path(cache).rglob("*")
        if path.is_file() and path.name.startswith(("root-", "md5-")) and not path.suffix
    ]


def claimed_bytes(cache, piece_size):
    """The bytes of the pieces that writers which ended have recorded in part files."""
    total = 0
    for claims in pathlib.Path(cache).rglob("*.claims"):
        size = int(claims.stem.rsplit("-", 1)[1])
        for piece, claim in enumerate(claims.read_bytes()):
            total += bool(claim) * min(piece_size, size - piece * piece_size)
    return total


def fetched_bytes(agent):
    """What an agent of which every shard is READY has read from locations, by its log."""
    return sum(int(count) for count in re.findall(r" state=ready .*fetched_bytes=(\d+)", agent.output()))
