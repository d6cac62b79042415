"""What the tests of aspects share: reviews that a tiny BERT can learn, and a model of them."""

import csv
import random
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SAID = {"口味": {"正面": "菜很香", "负面": "菜太咸"}, "服务": {"正面": "人热情", "负面": "人冷淡"}}
FILLER = ["昨天去了", "和朋友", "在楼上", "下午", "一家店"]
ASPECTS, STATES = list(SAID), ["未提及", "负面", "正面"]
VOCAB = [
    *SPECIAL,
    *sorted(set("".join(text for its in SAID.values() for text in its.values()) + "".join(FILLER)) | set("，。 ")),
]


def some_reviews(rows: int, seed: int = 0) -> list[list[str]]:
    """[review, state of 口味, state of 服务] each; what a clause says of an aspect is its state."""
    rng = random.Random(seed)
    found = []
    for _ in range(rows):
        states = [rng.choice(STATES) for _ in ASPECTS]
        clauses = [SAID[name][state] for name, state in zip(ASPECTS, states, strict=True) if state != "未提及"]
        clauses += rng.sample(FILLER, 2)
        rng.shuffle(clauses)
        found.append(["，".join(clauses) + "。", *states])
    return found


def write_table(path: Path, rows: list[list[str]], header: tuple[str, ...] = ("评论", *ASPECTS)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_reviews(folder: Path, rows: int = 90) -> Path:
    """train.csv, dev.csv and test.csv."""
    for seed, (split, count) in enumerate((("train", rows), ("dev", rows // 3), ("test", rows // 3))):
        write_table(folder / f"{split}.csv", some_reviews(count, seed))
    return folder


def flags(data: Path, folder: Path, *more: str) -> list[str]:
    """The folders of a stage."""
    paths = {"--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    found = [part for name, path in paths.items() for part in (name, str(path))]
    return [*found, "--batch-size", "16", "--device", "cpu", *more]
