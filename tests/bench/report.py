"""Rows of figures: the table for people, the JSON for programs, and the machine that they were taken on."""

import json
import os
import pathlib
import platform
import statistics
import subprocess

COLUMNS = ("name", "value", "unit", "aim", "baseline", "ratio", "limited by")


def median(values):
    return statistics.median(values)


def row(name, value, unit, aim, baseline="", ratio=None, limit="", **details):
    """`aim` as text, ">= 0.8"; `details` go into the JSON only."""
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "aim": aim,
        "baseline": baseline,
        "ratio": None if ratio is None else round(ratio, 3),
        "limited_by": limit,
        "met": meets(value, aim),
        "details": details,
    }


def not_measured(name, unit, aim, reason):
    return {
        "name": name,
        "value": None,
        "unit": unit,
        "aim": aim,
        "baseline": "",
        "ratio": None,
        "limited_by": "",
        "met": None,
        "details": {"not_measured": reason},
    }


def meets(value, aim):
    """Whether the aim is reached; None where there is none."""
    if not aim:
        return None
    sign, number = aim.split()
    return value >= float(number) if sign == ">=" else value <= float(number)


def _shown(row_):
    value = "not measured" if row_["value"] is None else f"{row_['value']:.4g}"
    limit = row_["limited_by"] or row_["details"].get("not_measured", "")
    ratio = "" if row_["ratio"] is None else f"{row_['ratio']:.2f}"
    mark = {True: " ok", False: " missed", None: ""}[row_["met"]]
    return (row_["name"], value, row_["unit"], row_["aim"] + mark, row_["baseline"], ratio, limit)


def table(rows):
    lines = [COLUMNS] + [_shown(one) for one in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def machine(directory):
    """CPU, cores, memory, kernel, and the file system of `directory`."""
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    completed = subprocess.run(
        ["stat", "--file-system", "--format", "%T", str(directory)], capture_output=True, text=True, check=False
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "file_system": completed.stdout.strip(),
        "load": os.getloadavg()[0],
    }


def machine_line(facts):
    return (
        f"machine: {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}, "
        f"data on {facts['file_system']}, load before {facts['load']:.1f}"
    )


def publish(rows, facts, quick, json_file):
    """The table for people and, where a file is named, everything for programs."""
    print(table(rows))
    if json_file:
        text = json.dumps({"machine": facts, "quick": quick, "rows": rows}, indent=2)
        json_file.write_text(text + "\n", encoding="utf-8")
