"""Questions made from passages: their answers stand where they say, and a reader learns from them first."""

import json
import random
from pathlib import Path

import pytest
import torch
from conftest import SPECIAL, press_ctrl_c, write_bert
from qa_questions import ASKING, flags, write_squad

from core.console import UserError
from core.model_files import checkpoint
from qa import cloze, train
from qa.formats import read_labelled

PASSAGE = (
    "王芳（1980年生）是北京人，在上海市读书，后来到广州工作。她于2003年由老师介绍给李小明，两人成为朋友，有三个孩子。"
    "他们的房子在河边，门前种了两棵树，每年秋天都有很多果子。"
)
STRANGE = "，。；！？\n　ａＢ１２𠮷😀\u200b（是于在）" + "王芳北京上海成立年月日的"


def test_answers_stand_where_they_say(tmp_path: Path):
    """In any text; the reader of labelled files has nothing to mend."""
    rng = random.Random(0)
    texts = ["".join(rng.choices(STRANGE, k=rng.randint(0, 400))) for _ in range(80)]
    first, again, other = (list(cloze.make_questions([PASSAGE, *texts], 5, seed)) for seed in (1, 1, 2))
    made = sum(first, [])
    assert len(made) > 100 and first == again != other and len(first) == 81
    for paragraph, source in [(each, text) for text, own in zip([PASSAGE, *texts], first, strict=True) for each in own]:
        [asked] = paragraph["qas"]
        [answer] = asked["answers"]
        start = answer["answer_start"]
        assert paragraph["context"][start : start + len(answer["text"])] == answer["text"] != ""
        assert asked["question"][-1] == "？" and paragraph["context"] in source
    found = read_labelled(write_squad(tmp_path / "made.json", made))
    assert len(found.rows) == len(made) == len({row.id for row in found.rows}) and not any(found.counts.values())


def test_a_folder_of_passages_becomes_one_of_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    passages = [f"{PASSAGE}第{number}段，是最后一段，说的是别的事情。" for number in range(40)]
    lines = tmp_path / "lines.txt"
    lines.write_text("\n\n".join([*passages, passages[0]]), encoding="utf-8")
    cloze.main([str(lines), "--to", str(tmp_path / "made"), "--each", "3"])
    kept = {}
    for name in ("train", "dev"):
        rows = read_labelled(tmp_path / f"made/{name}.json").rows
        kept[name] = {row.id.partition("-")[0] for row in rows}, len(rows)
    assert kept["dev"][1] <= 6 and 60 < kept["train"][1] <= 38 * 3
    assert "python -m qa.train --data-dir" in capsys.readouterr().out
    with pytest.raises(UserError, match="is there already"):
        cloze.main([str(lines), "--to", str(tmp_path / "made")])
    for content, says in (("Nothing here.\nNor here.", "of 0 of its 2"), (f"{PASSAGE}\n完。", "of 1 of its 2 passage")):
        lines.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=f"questions can be made {says}.*give two or more"):
            cloze.main([str(lines), "--to", str(tmp_path / "none")])


def test_passages_of_which_nothing_is_made_are_in_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    passages = [f"{PASSAGE}第{number}段，是最后一段，说的是别的事情。" for number in range(3)]
    lines = tmp_path / "lines.txt"
    lines.write_bytes("\n".join([*passages, "版权所有"]).encode() + b"\xff")
    cloze.main([str(lines), "--to", str(tmp_path / "made")])
    told = capsys.readouterr()
    assert "questions on 1 passages" in told.out and "questions on 2 passages" in told.out
    assert f"warning: {lines}: 1 " in told.err
    labelled = (tmp_path / "made/train.json").rename(tmp_path / "LABELLED.JSON")  # as Windows may call it
    cloze.main([str(labelled), "--to", str(tmp_path / "again")])
    with pytest.raises(UserError, match="a.csv is a table: copy its passages into a text file"):
        cloze.main([str(tmp_path / "a.csv"), "--to", str(tmp_path / "none")])


def small(tmp_path: Path) -> list[str]:
    """The flags of a training on data of one passage, with a BERT that knows its characters."""
    bert = write_bert(
        tmp_path / "bert",
        [*SPECIAL, *(f"##{digit}" for digit in range(10)), *sorted(set(f"0123456789{PASSAGE}他来哪里？{ASKING}"))],
    )
    folder, passages = tmp_path / "data", [PASSAGE, *PASSAGE.split("。")[:2]]
    asked = {"id": "1", "question": "他来自哪里？", "answers": [{"text": "王芳", "answer_start": 0}]}
    for name, text in zip(("train", "dev", "test"), passages, strict=True):
        start = {"text": text[:2], "answer_start": 0}
        write_squad(folder / f"{name}.json", [{"context": text, "qas": [{**asked, "answers": [start]}]}])
    return [*flags(folder, tmp_path, False), "--max-length", "48", "--bert-path", str(bert), "--max-steps", "1"]


def test_a_reader_learns_from_made_questions_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    args = small(tmp_path)
    begun = []
    monkeypatch.setattr(train, "fit", lambda model, *rest: (begun.append(_copy(model)), _fit(model, *rest))[1])
    train.main(args)
    made = tmp_path / "save/cloze/bert_qa.pt"
    weights = checkpoint.load(made)[0]
    assert len(begun) == 2 and all(torch.equal(weights[name], begun[1][name]) for name in weights)
    texts = json.loads((made.parent / "train.json").read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    assert all(each["context"] in PASSAGE for each in texts)
    assert (tmp_path / "save/bert_qa.pt").is_file()


def test_passages_that_none_can_be_made_of_are_no_obstacle(
    qa_bert: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train, "make_questions", lambda *rest: iter([]))  # as of English ones
    args = [*flags(questions, tmp_path, False), "--max-length", "48", "--bert-path", str(qa_bert), "--max-steps", "1"]
    train.main(args)
    assert (tmp_path / "save/bert_qa.pt").is_file() and not (tmp_path / "save/cloze").exists()
    with pytest.raises(UserError, match="no question can be made"):  # unless they are asked for
        train.main([*args, "--cloze", "4"])
    with pytest.raises(UserError, match="--cloze is -1"):
        train.main([*args, "--cloze", "-1"])


def test_none_are_made_where_the_time_is_limited(tmp_path: Path):
    train.main([*small(tmp_path), "--minutes", "0.02"])
    assert (tmp_path / "save/bert_qa.pt").is_file() and not (tmp_path / "save/cloze").exists()


def test_a_run_stopped_at_made_questions_goes_on_beside_an_earlier_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    args, model = [*small(tmp_path), "--cloze", "4"], tmp_path / "save/bert_qa.pt"
    train.main([*small(tmp_path), "--cloze", "0"])
    earlier = model.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(UserError, match="--resume"):
        press_ctrl_c(patch, at=1)
        train.main(args)
    assert model.read_bytes() == earlier
    train.main([*args, "--resume"])
    assert "resumed at step 1" in capsys.readouterr().out and model.read_bytes() != earlier
    train.main([*args, "--resume"])
    assert "has finished" in capsys.readouterr().out


def _copy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


_fit = train.fit
