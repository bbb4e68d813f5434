#!/usr/bin/env python3
"""Makes a model directory of harness/model_families.py: for blocks of pages that show one.

Usage: make_source.py FAMILY DIRECTORY
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness import model_families  # noqa: E402

FAMILIES = {**model_families.FAMILIES, "vllm_sharded": model_families.vllm_sharded_state}


def main():
    family, directory = sys.argv[1:]
    path = pathlib.Path(directory)
    path.mkdir(parents=True)
    FAMILIES[family](path)


if __name__ == "__main__":
    main()
