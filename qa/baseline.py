"""The baselines to beat, without learning: the clause that shares most with the question, and rules for what is asked.

    python -m qa.baseline
    python -m qa.baseline --data-dir my_data

The clause is found by the rarity of the characters and pairs of them that it and its neighbours share with the
question; what is rare is counted on the training passages. By the rules the answer is then the date, the number or the
title in it that the question asks for, else what follows the last words that it shares with the question. Writes
reports/qa_baseline/metrics.json, measured on test, else on dev.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from config import Config
from core.console import parse, progress, require_one_or_more, run
from core.files import sha256, write_json
from core.measure.latency import Predict
from core.training.device import measured_on
from qa.data import BUNDLED_DATA, Questions, read_data
from qa.formats import Pair
from qa.metrics import answer_scores

CLAUSE = re.compile(r"[^，。；：！？,;!?\n]+")
NUMERAL = "[\\d０-９一二三四五六七八九十百千万亿两零〇]"
A_CHARACTER = 0.02  # that a clause is longer counts so much against it
MANY = NUMERAL[1:-1]
DATE = f"(?:公元前?)?{NUMERAL}+(?:年|月|日|点|世纪|时|号)[{MANY}年月日点分半]*"
NUMBER = f"{NUMERAL}[{MANY},，.．]*(?:分之{NUMERAL}+)?(?:%|％|平方公里|公里|公斤|[\u4e00-\u9fa5])?"
# What a question asks for, and what that looks like.
RULES = [
    ("何时|什么时候|哪一?[年天月]|几[年月点]|时间|日期", DATE),
    ("多少|几|多[长高大远重深宽久]|比例", NUMBER),
    ("哪一?[部本首]|书名|什么书|歌名|作品", "《[^》]+》"),
]
LEADS = re.compile("^[是为在于叫做由从的了有到：“”]+")


@dataclass
class BaselineConfig:
    """Knobs of the baselines."""

    data_dir: Path = BUNDLED_DATA
    """Folder with train.json, dev.json and, where there is one, test.json."""
    output: Path = Config.output
    """Folder for the report: qa_baseline/metrics.json is written in it."""
    limit: int | None = None
    """Count on the first N training questions only."""

    def __post_init__(self) -> None:
        require_one_or_more(self, "limit")


def grams(text: str) -> set[str]:
    """The letters and digits of a text, and the pairs that stand beside each other among them."""
    letters = [letter for letter in text.lower() if letter.isalnum()]
    return {*letters, *("".join(pair) for pair in pairwise(letters))}


class Clauses:
    """The clause of a passage that shares most with the question.

    Args:
        train: what is rare is counted on its passages.
        rules: whether the answer is what rules find in the clause, rather than all of it.
    """

    def __init__(self, train: Questions, rules: bool) -> None:
        contexts = {item.context for item in train.items}
        seen = Counter(gram for context in contexts for gram in grams(context))
        self.rules, self.unseen = rules, math.log(len(contexts) + 1)
        self.rarity = {gram: math.log((len(contexts) + 1) / (count + 1)) for gram, count in seen.items()}

    def predict(self, items: Sequence[Pair], _: int = 1) -> list[str]:
        """The answer to each question."""
        return [self.answer(*item) for item in progress(items, desc="clauses", unit="item", delay=1.0, leave=False)]

    def answer(self, question: str, context: str) -> str:
        """The answer to a question."""
        clauses = [match.group().strip() for match in CLAUSE.finditer(context)] or [context]
        asked = grams(question)
        shared = [asked & grams(clause) for clause in clauses]
        near = [set().union(*shared[max(0, at - 1) : at + 2]) for at in range(len(clauses))]
        scores = [
            self._worth(around) + self._worth(own) - A_CHARACTER * len(clause)
            for clause, own, around in zip(clauses, shared, near, strict=True)
        ]
        order = sorted(range(len(clauses)), key=lambda at: -scores[at])
        best = clauses[order[0]]
        if not self.rules:
            return best
        for kind, looks in RULES:
            if re.search(kind, question):
                found = next((match for at in order[:3] if (match := re.search(looks, clauses[at]))), None)
                if found:
                    return found.group()
        ends = [at + size for size in (2, 3) for at in range(len(best) - size + 1) if best[at : at + size] in question]
        rest = LEADS.sub("", best[max(ends, default=0) :])
        return rest if len(rest) > 1 else best

    def _worth(self, shared: set[str]) -> float:
        """How much rarity a clause has in common with the question."""
        return sum(self.rarity.get(gram, self.unseen) for gram in shared)


MODELS = {"clause": False, "clause, rules": True}


def competitors(
    splits: dict[str, Questions], held_out: Questions, labels: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Predict | None]]:
    """The baselines as a benchmark compares them; see `core.task.Task`."""
    for name, rules in MODELS.items():
        model = Clauses(splits["train"], rules)
        scores = answer_scores(model.predict(held_out.items), held_out).metrics
        yield {"name": name, "runtime": "python", "params": len(model.rarity)}, scores, model.predict


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(BaselineConfig, argv, __doc__)
    splits = read_data(config.data_dir, config.limit)
    split = "test" if "test" in splits else "dev"
    held_out, report = splits[split], {}
    for name, rules in MODELS.items():
        started = time.perf_counter()
        scores = answer_scores(Clauses(splits["train"], rules).predict(held_out.items), held_out)
        seconds = round(time.perf_counter() - started, 1)
        report = {**scores.metrics, "model": name, "row_scores": scores.f1, "exact": scores.exact, "seconds": seconds}
        print(f"{name}: {split} EM {report['em']:.4f}, F1 {report['f1']:.4f} ({report['measure']}); {seconds} s")
    facts = {"split": split, "data_sha256": sha256(held_out.path), "train_rows": len(splits["train"]), **measured_on()}
    path = config.output / "qa_baseline" / "metrics.json"
    write_json(path, {**report, **facts})
    print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
