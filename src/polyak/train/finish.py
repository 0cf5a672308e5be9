"""The end of a run: its weights become candidates, the chosen ones a model file and a record."""

from polyak import __version__, selection
from polyak.data.dataset import Dataset
from polyak.ensemble import copied
from polyak.model.member import Member
from polyak.selection import Candidate, CandidatePool, Runtime, WeightKind
from polyak.selection.candidates import best_snapshot, candidate, ensembles, fine_tuned, soups
from polyak.train.judge import Judge
from polyak.train.learner import Learner
from polyak.train.recipe import Recipe
from polyak.train.run import Run

# what does not change the model, or tells of its maker's disk
ELSEWHERE = {"out", "name", "threads", "memory", "save_every", "device", "data", "distill", "log"}


def finish(
    recipe: Recipe, data: Dataset, learner: Learner, judge: Judge, run: Run, facts: dict
) -> dict:
    """Choose, calibrate, measure and write; return the run's last record.

    Args:
        recipe: as decided.
        data: all usable images.
        learner: trained.
        judge: knows the parts of the data.
        run: where to write.
        facts: of this run: "spec" of the network, "steps".
    """
    member = Member(learner.network, facts["spec"], data.classes, judge.page)
    runtime = Runtime(judge.where.device, judge.where.threads.loader, judge.check)
    pool = CandidatePool(judge.data, judge.training_pictures, runtime)
    shares = [share for share in recipe.average if share]
    found = candidates(pool, member, learner, judge, shares)
    every = recipe.ensemble is not None
    chosen = selection.select(pool, found, views=recipe.views or "one", every=every)
    chosen.write_predictions(run.predictions)
    chosen.save(run.model, provenance(recipe, data, facts))
    rest = {"left_out": len(data.quarantine), "model": str(run.model)}
    return {"kind": "end", **chosen.as_json(), **rest}


def candidates(
    pool: CandidatePool, member: Member, learner: Learner, judge: Judge, shares: list[float]
) -> list[Candidate]:
    """Put a run's weights into the pool, and collect all ways to end it; of equals the first wins.

    Args:
        pool: empty.
        member: the network that all weights are of.
        learner: trained.
        judge: knows the best weights, those that fine-tuning began with, and the snapshots.
        shares: half-lives of the averages, shares of the run.
    """
    averages = ["average"] if len(shares) == 1 else [f"average {share:g}" for share in shares]
    for name, average in zip(averages, learner.averages, strict=True):
        with judge.shown(learner, average):
            pool.add(name, copied(learner.network), member)
    pool.add("weights", copied(learner.network), member)
    found = [candidate(pool, name, WeightKind.AVERAGE, (name,)) for name in averages]
    found.append(candidate(pool, "weights", WeightKind.WEIGHTS, ("weights",)))
    if judge.best is not None:
        pool.add("best", judge.best, member)
        found.append(candidate(pool, "best", WeightKind.BEST, ("best",)))
    if judge.start is not None:
        found += fine_tuned(pool, judge.start, ["weights", *averages], member)
    snapshots = {}
    for one in judge.snapshots.taken():
        snapshots[f"snapshot {one.number}"] = one.share
        pool.add(f"snapshot {one.number}", one.state, member)
    found += best_snapshot(pool, snapshots)
    names = list(snapshots)
    found += soups(pool, [*names, *(averages if len(averages) > 1 else [])])
    return found + ensembles(pool, names, "snapshots")


def provenance(recipe: Recipe, data: Dataset, facts: dict) -> dict:
    """Say where a model comes from; nothing in it depends on clock, place or machine load."""
    counts = {name: int((data.splits == name).sum()) for name in ("train", "val", "test")}
    return {
        "polyak": __version__,
        "recipe": recipe.model_dump(exclude=ELSEWHERE),
        "data": {"fingerprint": data.fingerprint(), "left_out": len(data.quarantine), **counts},
        "steps": facts["steps"],
    }
