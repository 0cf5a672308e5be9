"""Write benchmarks/README.md from results/*.json: nothing in that page is typed by hand.

python benchmarks/table.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Written by `python benchmarks/table.py` from `results/*.json`; each script says how it measures.
Contenders take turns in one run; figures are medians unless they say otherwise. Machines are
shared: trust ratios before absolute numbers.
"""


def rows(value, name=()):
    """Flatten nested results to (name, number); a median takes its range along."""
    if isinstance(value, dict) and {"median", "min", "max"} <= set(value):
        yield name, f"{value['median']} ({value['min']} to {value['max']})"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from rows(inner, (*name, key))
    elif isinstance(value, list):
        yield name, ", ".join(str(inner) for inner in value)
    else:
        yield name, str(value)


def section(file):
    results = json.loads(file.read_text())
    machine = results.pop("machine", {})
    results.pop("runs", None)  # every seed's own figures: the file has them
    versions = ", ".join(f"{k} {v}" for k, v in machine.pop("versions", {}).items())
    where = ", ".join(f"{k}: {v}" for k, v in machine.items() if k != "memory")
    command = f"`{results.pop('command', f'python benchmarks/bench_{file.stem}.py')}`"
    lines = [f"## {file.stem}", "", f"{command}. {where}; {versions}"]
    lines += ["", "| what | figure |", "|---|---|"]
    lines += [f"| {' / '.join(map(str, name))} | {figure} |" for name, figure in rows(results)]
    return "\n".join(lines) + "\n"


def main():
    files = sorted((HERE / "results").glob("*.json"))
    page = "\n".join([HEAD, *(section(file) for file in files)])
    (HERE / "README.md").write_text(page)


if __name__ == "__main__":
    main()
