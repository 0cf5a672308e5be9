"""Write README's table of polyak beside others, in English and Korean, and the optimizers' card.

    python benchmarks/against.py

Every figure is read from results/*.json; tests/test_pages.py sees a table that is not fresh.
"""

import json
from pathlib import Path

from card import CARDS, filled

HERE = Path(__file__).parent
PAGES = {"en": HERE.parent / "README.md", "ko": HERE.parent / "README.ko.md"}
WORDS = {
    "en": {
        "head": "| what, on 2 processor cores | polyak | the best of the others | times as fast "
        "| the same, pair by pair |",
        "quartiles": "{} (quartiles {} to {})",
        "range": "{} ({} to {})",
        "unpaired": "not paired",
        "load": "photographs of 500x375 from files to batches of 224, images/s",
        "kept": "the same from the second epoch on, when they fit into memory",
        "small": "images of 32x32 from files, images/s",
        "list": "the lecture's whole list of augmentations from JPEG bytes, one thread, images/s",
        "crop": "crop and flip alone, one thread, images/s",
        "whole": "clip, Adam and Polyak's average on ResNet-50's weights, ms a step",
        "adam": "Adam alone on the same, ms a step",
        "nesterov": "Nesterov alone on the same, ms a step",
        "loop": "a training step of `compact`, loop included, ms",
        "bare": "a bare loop of PyTorch",
        "lerp": "clip, torch's fused Adam, `lerp`",
    },
    "ko": {
        "head": "| 무엇을 (프로세서 코어 2개) | polyak | 다른 것 가운데 최고 | 몇 배 빠른가 "
        "| 짝지어 잰 배수 |",
        "quartiles": "{} (사분위수 {}~{})",
        "range": "{} ({}~{})",
        "unpaired": "짝짓지 않음",
        "load": "500x375 사진을 파일에서 224 배치로, 초당 사진 수",
        "kept": "같은 일을 두 번째 에폭부터, 메모리에 들어갈 때",
        "small": "32x32 사진을 파일에서, 초당 사진 수",
        "list": "강의의 증강 전체를 JPEG 바이트에서, 스레드 하나, 초당 사진 수",
        "crop": "자르기와 뒤집기만, 스레드 하나, 초당 사진 수",
        "whole": "ResNet-50의 가중치에 클리핑, Adam, 폴리악 평균, 스텝당 ms",
        "adam": "같은 가중치에 Adam만, 스텝당 ms",
        "nesterov": "같은 가중치에 Nesterov만, 스텝당 ms",
        "loop": "`compact`의 학습 스텝, 루프 포함, ms",
        "bare": "PyTorch로 쓴 맨 루프",
        "lerp": "클리핑, torch의 fused Adam, `lerp`",
    },
}


def results(name):
    return json.loads((HERE / f"results/{name}.json").read_text())


def loaded(case, own):
    """Give (polyak, the best other, its name, ratios of pairs) of the loader: images a second."""
    speeds = results("loader")[case]["images_per_second"]
    peers = {k: v["median"] for k, v in speeds.items() if not k.startswith("polyak")}
    best = max(peers, key=lambda name: peers[name])
    return speeds[own]["median"], peers[best], best, None


def augmented(case):
    """Give the same of augmentation on one thread, among those that do the whole list."""
    found = results("augment")[case]
    whole = [k for k in found if k not in ("polyak", "decode only")]
    if case == "whole list":
        whole = [k for k in whole if "no lens" not in k]
    speeds = {name: found[name]["pictures_a_second"]["median"] for name in ("polyak", *whole)}
    best = max(whole, key=lambda name: speeds[name])
    name = best.removesuffix(" (no lens)")
    return speeds["polyak"], speeds[best], name, found[best]["polyak_is_faster_by"]


def optimized(rule):
    """Give the same of one rule alone: milliseconds a step."""
    found = results("optim")["plain"]["resnet50"][rule]
    times = {k: v["median"] for k, v in found["milliseconds"].items() if k != "triad"}
    own = times.pop("polyak")
    best = min(times, key=lambda name: times[name])
    return own, times[best], f"torch, `{best}`", found["speed_against_fastest"]


def together(words):
    """Give the same of clipping, Adam and the average: milliseconds a step."""
    found = results("optim")["everything"]["resnet50"]
    own, other = (found["milliseconds"][k]["median"] for k in ("polyak", "clip+fused+lerp"))
    return own, other, words["lerp"], found["speed_against_best"]


def looped(words):
    """Give the same of a whole training step: milliseconds."""
    found = results("loop")["plain"]
    own, other = (found["milliseconds a step"][k] for k in ("polyak", "bare"))
    took = found["polyak / bare"]
    pairs = {"median": 1 / took["median"], "min": 1 / took["max"], "max": 1 / took["min"]}
    return own, other, words["bare"], pairs


def rows(words):
    """List (what, whether the smaller figure wins, polyak, the best other, its name, pairs)."""
    yield words["load"], False, *loaded("photographs of 500x375 to 224", "polyak, files")
    yield words["kept"], False, *loaded("photographs of 500x375 to 224", "polyak, kept")
    yield words["small"], False, *loaded("images of 32x32", "polyak, files")
    yield words["list"], False, *augmented("whole list")
    yield words["crop"], False, *augmented("crop and flip")
    yield words["whole"], True, *together(words)
    yield words["adam"], True, *optimized("adam")
    yield words["nesterov"], True, *optimized("nesterov")
    yield words["loop"], True, *looped(words)


def shown(value):
    """Write a figure as the tables do: three digits and more without decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def divided(own, other, smaller_wins):
    """Divide two figures as they are shown, so that who looks at both finds the same."""
    own, other = (float(shown(value).replace(",", "")) for value in (own, other))
    return f"{other / own if smaller_wins else own / other:.2f}"


def paired(found, words):
    """Write the median of ratios of neighbouring measurements, and how far they spread."""
    if found is None:
        return words["unpaired"]
    kind = "quartiles" if "quartiles" in found else "range"
    ends = found.get("quartiles") or (found["min"], found["max"])
    return words[kind].format(*(f"{ratio:.2f}" for ratio in (found["median"], *ends)))


def table(language):
    words = WORDS[language]
    lines = [words["head"], "|---|---|---|---|---|"]
    for what, smaller_wins, own, other, name, pairs in rows(words):
        ratios = f"{divided(own, other, smaller_wins)} | {paired(pairs, words)}"
        lines.append(f"| {what} | {shown(own)} | {shown(other)} ({name}) | {ratios} |")
    return "\n".join(lines)


def steps():
    """Lay out one step of each rule beside torch's fastest way, and all in one pass."""
    lines = [
        "| rule | polyak, ms | torch's fastest, ms | times as fast | the same, pair by pair |",
        "|---|---|---|---|---|",
    ]
    found, words = results("optim"), WORDS["en"]
    named = {f"`{rule}`": optimized(rule) for rule in found["plain"]["resnet50"]}
    for what, (own, other, name, pairs) in (
        named | {"clip, Adam, average": together(words)}
    ).items():
        name = name.removeprefix("torch, ")
        ratios = f"{divided(own, other, True)} | {paired(pairs, words)}"
        lines.append(f"| {what} | {shown(own)} | {shown(other)} ({name}) | {ratios} |")
    return "\n".join(lines)


def pages():
    """List (file, name of the table, table)."""
    yield from ((page, "against", table(language)) for language, page in PAGES.items())
    yield CARDS / "optimizers.md", "steps", steps()


def main():
    for page, name, text in pages():
        page.write_text(filled(page.read_text(), name, text))


if __name__ == "__main__":
    main()
