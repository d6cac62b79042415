"""What the tests of named entities share: sentences that a tiny BERT of words can learn, and a tagger of them."""

import json
import random
from pathlib import Path

import pytest

PEOPLE, PLACES, VERBS = ["王芳", "李小明", "张三", "Kim"], ["北京", "上海市", "Oslo"], ["昨天到了", "喜欢", "来自"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCAB = [
    *SPECIAL,
    *sorted(set("".join(PEOPLE + PLACES + VERBS).lower() + "。，的 0123456789")),
    "北京",
    "昨天",
    "到了北京",
]


def write_sentences(folder: Path, rows: int = 60) -> Path:
    """train.jsonl, dev.jsonl and test.jsonl in which people do things to places."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", rows), ("dev", rows // 3), ("test", rows // 3)):
        lines = []
        for _ in range(count):
            person, verb, place = rng.choice(PEOPLE), rng.choice(VERBS), rng.choice(PLACES)
            text, at = f"{person}{verb}{place}。", len(person + verb)
            entities = [(0, len(person), "PER"), (at, at + len(place), "LOC")]
            rows_ = [dict(zip(("start", "end", "label"), entity, strict=True)) for entity in entities]
            lines.append(json.dumps({"text": text, "entities": rows_}, ensure_ascii=False))
        folder.joinpath(f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentences(tmp_path_factory.mktemp("sentences"))


@pytest.fixture(scope="session")
def words_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT whose vocabulary has words of Chinese."""
    from conftest import write_bert

    return write_bert(tmp_path_factory.mktemp("words"), VOCAB, max_position_embeddings=128)


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, words_bert: Path, sentences: Path) -> Path:
    """The file of a tagger trained by `ner.train`; do not write to it."""
    from ner import train

    folder = tmp_path_factory.mktemp("tagger")
    train.main([*flags(sentences, folder), "--bert-path", str(words_bert), "--num-epochs", "8", "--max-length", "24"])
    return folder / "save" / "bert_ner.pt"


def flags(data: Path, folder: Path) -> list[str]:
    """The folders of a stage."""
    paths = {"--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    return [
        *(part for name, path in paths.items() for part in (name, str(path))),
        "--batch-size",
        "16",
        "--device",
        "cpu",
    ]
