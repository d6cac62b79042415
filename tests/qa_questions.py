"""What the tests of question answering share: questions that a tiny BERT of words can learn, and a reader of them."""

import json
import random
from pathlib import Path

import pytest

from qa import cloze

PEOPLE, PLACES, VERBS = ["王芳", "李小明", "张三", "Kim"], ["北京", "上海市", "Oslo"], ["昨天到了", "喜欢", "来自"]
FILLERS = ["今日新的。", "的到了。", "昨天的今日。"]
QUESTIONS = {"谁{verb}这个地方？": "person", "他{verb}哪里？": "place"}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = [*PEOPLE, *PLACES, *VERBS, *FILLERS, *QUESTIONS]
ASKING = "".join([*cloze.OF_CLAUSES, *cloze.WHEN, *cloze.COUNT, *sum(cloze.ASKS.values(), ())])  # of made questions
VOCAB = [*SPECIAL, *sorted(set("".join(TEXTS).lower() + "。，0123456789 ")), "北京", "昨天", "到了北京", "今日"]


def a_question(rng: random.Random, number: int) -> dict:
    """A paragraph of SQuAD's JSON with one question."""
    parts = {"person": rng.choice(PEOPLE), "verb": rng.choice(VERBS), "place": rng.choice(PLACES)}
    before, after = ("".join(rng.choices(FILLERS, k=rng.choice((0, 1, 1, 16)))) for _ in range(2))
    context = f"{before}{parts['person']}{parts['verb']}{parts['place']}。{after}"
    asked = rng.choice(list(QUESTIONS))
    text = parts[QUESTIONS[asked]]
    start = context.index(text, len(before) + (len(parts["person"]) if QUESTIONS[asked] == "place" else 0))
    question = {"id": f"Q{number}", "question": asked.format(verb=parts["verb"])}
    return {"context": context, "qas": [{**question, "answers": [{"text": text, "answer_start": start}]}]}


def write_squad(path: Path, paragraphs: list[dict]) -> Path:
    """A file in the JSON of SQuAD."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def write_questions(folder: Path, rows: int = 90, null_share: float = 0.0) -> Path:
    """train.json, dev.json and test.json; of a share of the questions the passage has no answer."""
    rng = random.Random(0)
    for split, count in (("train", rows), ("dev", rows // 3), ("test", rows // 3)):
        paragraphs = [a_question(rng, number) for number in range(count)]
        for paragraph in paragraphs:
            if rng.random() < null_share:
                paragraph["context"] = "".join(rng.sample(FILLERS, 3))
                paragraph["qas"][0] |= {"answers": [], "is_impossible": True}
        write_squad(folder / f"{split}.json", paragraphs)
    return folder


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="session")
def qa_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT whose vocabulary has words of Chinese."""
    from conftest import write_bert

    return write_bert(tmp_path_factory.mktemp("qa_bert"), VOCAB, max_position_embeddings=128)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory, qa_bert: Path, questions: Path) -> Path:
    """The file of a reader trained by `qa.train`; do not write to it."""
    from qa import train

    folder = tmp_path_factory.mktemp("reader")
    train.main([*flags(questions, folder), "--bert-path", str(qa_bert), "--num-epochs", "10"])
    return folder / "save" / "bert_qa.pt"


def held_back(model: Path, folder: Path) -> Path:
    """A copy of a model whose threshold is so high that it never gives an answer."""
    from core.model_files import checkpoint

    weights, facts = checkpoint.load(model)
    facts["answers"]["threshold"] = 99.0
    checkpoint.save(folder / model.name, weights, facts)
    return folder / model.name


def flags(data: Path, folder: Path, trains: bool = True) -> list[str]:
    """The folders of a stage; where it trains, a short window, and no made questions first."""
    paths = {"--data-dir": data, "--save-dir": folder / "save", "--output": folder / "reports"}
    given = [part for name, path in paths.items() for part in (name, str(path))]
    short = ("--max-length", "48", "--cloze", "0") if trains else ()
    return [*given, *short, "--batch-size", "16", "--device", "cpu"]
