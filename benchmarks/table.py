"""Write benchmarks/README.md from results/*.json: nothing in that page is typed by hand.

python benchmarks/table.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Written by `python benchmarks/table.py` from `results/*.json`; each script says how it measures.
Contenders take turns in one run; figures are medians unless they say otherwise. Machines are
shared: trust ratios before absolute numbers. `make bench` runs every `bench_*.py`; the `study_*.py`
train networks for hours and write their tables into `docs/methods`.
"""
SHARE = "share_of_triad"


def brief(number):
    """Say a number in three digits."""
    return f"{number:.3g}" if isinstance(number, float) and abs(number) < 1000 else f"{number:,.0f}"


def spread(found):
    """Say a median and its range or its quartiles."""
    ends = found.get("quartiles") or (found["min"], found["max"])
    return f"{brief(found['median'])} ({brief(ends[0])} to {brief(ends[1])})"


def rows(value, name=()):
    """Flatten nested results to (name, number); a median takes its range along."""
    if isinstance(value, dict) and "median" in value and len(value) > 2:
        yield name, spread(value)
    elif isinstance(value, dict) and {"median", "quartiles"} == set(value):
        yield name, spread(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from rows(inner, (*name, key))
    elif isinstance(value, list):
        yield name, ", ".join(str(inner) for inner in value)
    else:
        yield name, str(value)


def grid(head, lines):
    """Lay out a table of Markdown."""
    shown = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in shown)


def optim(results):
    """A row for every rule and set of weights; ratios above 1: polyak is faster; quartiles.

    A ratio is the median of those of neighbouring measurements, not that of the two medians.
    """
    head = ["weights", "rule", "polyak, ms", "torch fused, ms"]
    head += ["pair by pair: times as fast as fused", "as torch's fastest"]
    head += ["share of a triad's bytes a second"]
    lines = []
    for weights, rules in results["plain"].items():
        for rule, found in rules.items():
            took, fused = found["milliseconds"], found["reference"] == "fused=True"
            line = [weights, rule, brief(took["polyak"]["median"])]
            line.append(brief(took["fused=True"]["median"]) if fused else "none")
            line.append(spread(found["speed_against_reference"]) if fused else "none")
            lines.append([*line, *map(spread, (found["speed_against_fastest"], found[SHARE]))])
    both = ["weights", "polyak, ms", "pair by pair: times as fast as clip, fused, lerp"]
    both += ["as clip, default, average"]
    whole = []
    for weights, found in results["everything"].items():
        ratios = map(spread, (found["speed_against_best"], found["speed_against_default"]))
        whole.append([weights, brief(found["milliseconds"]["polyak"]["median"]), *ratios])
    calls = [value["median"] for value in results["first_call_seconds"].values()]
    parts = [grid(head, lines), "Adam with clipping, decay and an average, in one pass:"]
    parts += [
        grid(both, whole),
        f"The first call of a rule compiles: {brief(max(calls))} s at most.",
    ]
    return "\n\n".join(parts)


def flat(results):
    return grid(
        ["what", "figure"], [[" / ".join(map(str, n)), found] for n, found in rows(results)]
    )


def section(file):
    results = json.loads(file.read_text())
    machine = results.pop("machine", {})
    versions = ", ".join(f"{k} {v}" for k, v in machine.pop("versions", {}).items())
    where = ", ".join(f"{k}: {v}" for k, v in machine.items() if k != "memory")
    command = f"`{results.pop('command', f'python benchmarks/bench_{file.stem}.py')}`"
    body = optim(results) if file.stem == "optim" else flat(results)
    return f"## {file.stem}\n\n{command}. {where}; {versions}\n\n{body}\n"


def main():
    studies = {file.stem.removeprefix("study_") for file in HERE.glob("study_*.py")}
    files = sorted((HERE / "results").glob("*.json"))
    files = [file for file in files if file.stem.split("_")[0] not in studies]
    page = "\n".join([HEAD, *(section(file) for file in files)])
    (HERE / "README.md").write_text(page)


if __name__ == "__main__":
    main()
