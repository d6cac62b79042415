"""The clean corpus: what comes in from clones, and what of a test set does not."""

import json
from pathlib import Path

import pytest

from core.console import UserError
from experiments.clean_corpus import main


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    files = {
        "website-hot-hub/archives/懂球帝/2025/06/2025-06-10.md": "## 懂球帝\n\n+ [球队主场夺冠](https://a.cn/1)\n"
        "+ [央行宣布降息！](https://a.cn/2)\n+ [球队主场夺冠。](https://a.cn/3)\n+ [abc](https://a.cn/4)\n",
        "website-hot-hub/README.md": "- [这不是标题而是说明](https://a.cn)\n",
        "zhihu-hot-hub/archives/2021-01-08.md": "1. [如何看待芯片大涨？](https://www.zhihu.com/question/1)\n",
        "zhihu-hot-hub/raw/hot-question-2021-01-08.json": json.dumps(
            {"data": [{"target": {"excerpt_area": {"text": "芯片价格今天上涨，\n原因是什么"}}}, {"target": None}]}
        ),
        "zhihu-hot-hub/raw/hot-question-2021-01-09.json": "{cut off",
    }
    for name, content in files.items():
        (tmp_path / "clones" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clones" / name).write_text(content, encoding="utf-8")
    return tmp_path / "clones"


def squad(path: Path, *passages: str) -> Path:
    data = [{"paragraphs": [{"context": passage, "qas": []} for passage in passages]}]
    path.write_text(json.dumps({"data": data}), encoding="utf-8")
    return path


def test_lists_and_passages_without_what_a_model_is_judged_by(clones: Path, tmp_path: Path):
    test = tmp_path / "test.txt"
    test.write_text("央行宣布，降息\t1\n", encoding="utf-8")  # its twin has other marks
    town = "这座小城位于河流的上游，人口约有三万，以出产茶叶而闻名。"
    train = squad(tmp_path / "train.json", town, "这种鸟生活在高山的树林里，冬天飞往南方的湖泊过冬。")
    held = squad(tmp_path / "held.json", f"另一段话。{town}")
    flags = ["--clones", str(clones), "--passages", str(train), "--output", str(tmp_path / "corpus")]
    main([*flags, "--without", str(test), str(held)])
    texts = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "corpus").glob("*.txt")}
    assert texts == {
        "website-hot-hub_懂球帝": ["球队主场夺冠"],
        "zhihu-hot-hub": ["如何看待芯片大涨？", "芯片价格今天上涨， 原因是什么"],
        "train": ["这种鸟生活在高山的树林里，冬天飞往南方的湖泊过冬。"],
    }
    sources = json.loads((tmp_path / "corpus/sources.json").read_text(encoding="utf-8"))
    assert sources["zhihu-hot-hub"]["texts"] == 2 and sources["zhihu-hot-hub"]["licence"] == "MIT"
    assert sources["train"] == {"texts": 1, "characters": 25, "from": "train.json", "licence": "CC BY-SA 4.0"}


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(UserError, match="holds no clone of justjavac"):
        main(["--clones", str(tmp_path)])
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="x.json is no SQuAD-style JSON"):
        main(["--clones", str(tmp_path), "--passages", str(tmp_path / "x.json"), "--output", str(tmp_path / "o")])
