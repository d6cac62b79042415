"""Aspects from training to the API, on a tiny BERT; every script of the root takes the model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from api_client import ApiClient
from aspect_reviews import ASPECTS, STATES, VOCAB, flags, some_reviews, write_reviews, write_table
from conftest import float_products, write_bert

import api
import benchmark
import bert_model_quantization
import custom_pruning
import evaluate
import tasks
from aspect_sentiment import baseline, distillation, predict, train
from aspect_sentiment.model import BertAspects
from aspect_sentiment.predict import SentimentPredictor
from aspect_sentiment.tables import answer_columns
from core.console import UserError
from core.model_files import checkpoint
from core.tables.read import open_table

TEXT = "昨天去了，菜很香，人冷淡。"
SAYS = {"口味": "正面", "服务": "负面"}


def says(answer: dict) -> dict[str, str]:
    return {entry["aspect"]: entry["state"] for entry in answer["aspects"]}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("reviews"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("encoder"), VOCAB, max_position_embeddings=16)


@pytest.fixture(scope="module")
def model(encoder: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model trained by `aspect_sentiment.train`; do not write to it."""
    folder = tmp_path_factory.mktemp("model")
    train.main(flags(reviews, folder, "--bert-path", str(encoder), "--num-epochs", "8"))
    return folder / "save" / "bert_aspects.pt"


@pytest.fixture(scope="module")
def student(model: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of one layer of two teachers, with reviews that they label."""
    folder = tmp_path_factory.mktemp("student")
    more = write_table(folder / "more.csv", [[row[0]] for row in some_reviews(30, 5)], ("评论",))
    args = ["--model", str(model), "linear", "--num-epochs", "6", "--unlabeled", str(more), "--min-confidence", "0.5"]
    distillation.main(flags(reviews, folder, *args))
    return folder / "save" / "bert_soft_distill.pth"


def test_it_learns_and_says_all_about_itself(model: Path):
    facts = checkpoint.load(model)[1]
    assert facts["metrics"]["dev"]["pooled_f1"] > 0.95 and facts["metrics"]["test"]["pooled_f1"] > 0.95
    assert (facts["task"], facts["labels"], facts["best_by"]) == ("aspect_sentiment", STATES, "pooled_f1")
    architecture = facts["architecture"]
    assert architecture["aspects"] == ASPECTS and np.array(architecture["offsets"]).shape == (2, 3)
    assert facts["max_length"] == 64 and facts["temperature"] != 1, "more than the 16 positions of the encoder"


def test_each_clause_is_left_out_where_it_stands_and_of_long_reviews_none(model: Path, monkeypatch: pytest.MonkeyPatch):
    predictor, seen = SentimentPredictor.load(model), []
    real = predictor.encode
    monkeypatch.setattr(predictor, "encode", lambda texts: seen.extend(texts) or real(texts))
    predictor.evidence("人和菜很香，菜很香，")
    assert seen == ["人和菜很香，菜很香，", "菜很香，", "人和菜很香，"]
    seen.clear()
    assert {entry["words"] for entry in predictor.predict("菜很香，" * 1500)["aspects"]} == {""} and len(seen) == 1


def test_answers_with_the_words_that_spoke_for_them(model: Path):
    predictor = SentimentPredictor.load(model)
    answer = predictor.predict(TEXT)
    assert says(answer) == SAYS and [entry["words"] for entry in answer["aspects"]] == ["菜很香", "人冷淡"]
    assert answer["overall"]["state"] in ("正面", "负面") and 0.3 < answer["overall"]["confidence"] < 0.7
    happy, silent = predictor.predict(["菜很香，人热情。", "昨天去了。"])
    assert happy["overall"]["state"] == "正面" and happy["overall"]["confidence"] > 0.9
    assert silent["overall"]["state"] == "未提及" and "words" not in silent["aspects"][0]


@pytest.mark.parametrize("text", ["\U0001f600\U0001f600", '他说"菜很香"\r\n\\n', "昨天去了，" * 20_000, "x"])
def test_odd_reviews_are_answered(text: str, model: Path):
    answer = SentimentPredictor.load(model).predict([text])[0]
    assert len(answer["aspects"]) == 2 and 0 < answer["overall"]["confidence"] <= 1


def test_padding_and_pooling(encoder: Path):
    for pooling in ("attention", "mean"):
        torch.manual_seed(0)
        module = BertAspects.from_pretrained(encoder, ["a", "b", "c"], 4, pooling, 40).eval()
        ids = torch.randint(5, len(VOCAB), (2, 20))
        alone = module(ids, torch.ones_like(ids))
        padded = torch.nn.functional.pad(ids, (0, 9)), torch.nn.functional.pad(torch.ones_like(ids), (0, 9))
        assert alone.shape == (2, 3, 4) and torch.allclose(alone, module(*padded), atol=1e-5)
        rows = module.bert.embeddings.position_embeddings.weight
        assert len(rows) == 40 and torch.equal(rows[:16], rows[16:32])


def test_pieces_of_a_batch_give_the_same_update(model: Path, reviews: Path, encoder: Path, tmp_path: Path):
    calm = write_bert(tmp_path / "calm", VOCAB, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    states = []
    for pieces in ("1", "4"):
        folder = tmp_path / pieces
        args = ["--bert-path", str(calm), "--max-steps", "2", "--gradient-accumulation", pieces, "--precision", "fp32"]
        train.main(flags(reviews, folder, *args))
        states.append(checkpoint.load(folder / "save/bert_aspects.pt")[0])
    assert all(torch.allclose(states[0][name], states[1][name], atol=2e-5) for name in states[0])


@pytest.mark.parametrize("loss", ["class_weights", "focal", "r_drop"])
def test_other_losses_train(loss: str, reviews: Path, encoder: Path, tmp_path: Path):
    args = ["--bert-path", str(encoder), "--max-steps", "3", "--pooling", "mean", "--long-texts", "head_tail"]
    train.main(flags(reviews, tmp_path, *args, "--loss", loss))
    facts = checkpoint.load(tmp_path / "save/bert_aspects.pt")[1]
    assert (facts["architecture"]["long_texts"], facts["truncation"], facts["max_length"]) == ("head_tail",) * 2 + (16,)


def test_the_student_answers_without_torch_and_as_its_checkpoint(student: Path):
    facts = checkpoint.load(student)[1]
    assert len(facts["architecture"]["layers"]) == 1 and facts["metrics"]["dev"]["pooled_f1"] > 0.9
    paths = (student, student.with_suffix(".onnx"))
    answers = [SentimentPredictor.load(path).predict([TEXT, "菜太咸", TEXT * 9]) for path in paths]
    assert [says(each) for each in answers[0]] == [says(each) for each in answers[1]] and says(answers[0][0]) == SAYS


def test_teachers_must_fit_the_data(model: Path, tmp_path: Path):
    folder = tmp_path / "data"
    for split in ("train", "dev"):
        write_table(folder / f"{split}.csv", some_reviews(9), ("评论", "口味", "环境"))
    with pytest.raises(UserError, match="knows other aspects or states than the data"):
        distillation.main(flags(folder, tmp_path, "--model", str(model)))
    with pytest.raises(UserError, match="begins with linear"):
        distillation.main(flags(folder, tmp_path, "--model", "linear"))
    with pytest.raises(UserError, match="has other aspects than the model"):
        evaluate.main(["--model", str(model), "--data", str(folder / "dev.csv"), "--output", str(tmp_path)])


def test_evaluation_explains_and_compares(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    baseline.main(["--data-dir", str(reviews), "--output", str(tmp_path)])
    base = json.loads((tmp_path / "aspect_baseline/metrics.json").read_text(encoding="utf-8"))
    assert base["model"].startswith("linear") and base["pooled_f1"] > 0.8 > base["all"]["majority"]
    common = ["--model", str(model), "--data", str(reviews / "test.csv"), "--output", str(tmp_path)]
    evaluate.main([*common, "--against", str(tmp_path / "aspect_baseline")])
    told = capsys.readouterr().out
    assert "share of reviews with every aspect right" in told and "points against linear" in told
    found = json.loads((tmp_path / "evaluate/metrics.json").read_text(encoding="utf-8"))
    assert set(found["per_aspect"]) == set(ASPECTS) and np.array(found["rows"]).shape == (30, 3, 3)
    for name in ("aspects", "confusion", "bad_cases"):
        assert "aspect" in (tmp_path / f"evaluate/{name}.tsv").read_text(encoding="utf-8-sig").partition("\n")[0]


def test_int8_and_benchmark(student: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    common = ["--data-dir", str(reviews), "--output", str(tmp_path)]
    bert_model_quantization.main([*common, "--model", str(student), "--max-drop", "9"])
    int8 = student.with_name("bert_soft_distill_int8.onnx")
    assert says(SentimentPredictor.load(int8).predict([TEXT])[0]) == SAYS
    assert float_products(int8) == ["MatMul"]  # of the states, by the attention of each aspect
    monkeypatch.setattr(benchmark, "TURNS", 1)
    monkeypatch.setattr(benchmark, "TIMED_ITEMS", 3)
    alone = {"peak_mb": 1.0, "cold_start_s": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "titles_per_s": 1.0}
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: alone)
    benchmark.main([*common, "--model", str(int8), str(student)])
    rows = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["rows"]
    assert {"majority", "linear_offsets", "bert_soft_distill_int8", "bert_soft_distill"} <= {
        row["name"] for row in rows
    }


def test_pruning(model: Path, reviews: Path, tmp_path: Path):
    args = flags(reviews, tmp_path, "--model", str(model), "--keep-layers", "1", "--max-steps", "8", "--prune-vocab")
    custom_pruning.main(args)
    [pruned] = tmp_path.glob("**/*.pth")
    facts = checkpoint.load(pruned)[1]
    assert facts["architecture"]["aspects"] == ASPECTS and "offsets" in facts["architecture"]
    assert says(tasks.load(pruned, "cpu")[1].predict([TEXT])[0]) == SAYS


def test_it_answers_on_the_api(model: Path):
    app = api.create_app(api.load_models([f"aspects={model}"]), api.ApiConfig())
    client = ApiClient(app)
    body = client.post("/predict", json={"text": TEXT}).get_json()
    assert body["text"] == TEXT and says(body) == SAYS and body["status"] == 200
    assert set(body["overall"]) == {"state", "confidence"} and set(body["aspects"][0]) == {
        "aspect",
        "state",
        "confidence",
    }
    body = client.post("/predict", json={"text": [TEXT, " ", "来自。", "长" * 10_001]}).get_json()
    assert [("aspects" in item, "error" in item) for item in body["predictions"]] == [(1, 0), (0, 1), (1, 0), (0, 1)]
    app.close()


def test_types_of_a_parquet_file_stay(model: Path, tmp_path: Path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    given = pyarrow.table({"编号": [1, 2], "评论": [TEXT, " "], "confidence": [0.5, None]})
    parquet.write_table(given, tmp_path / "in.parquet")
    args = ["--model", str(model), "--file", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out.parquet")]
    predict.main(args)
    written = parquet.read_table(tmp_path / "out.parquet")
    assert written.select(given.column_names).equals(given)
    first, second = written["confidence_predicted"].to_pylist()
    assert 0 < first <= 1 and second is None


def test_tables_in_and_out(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_table(
        tmp_path / "in.csv", [["1", TEXT], ["2", " "], ["3", "菜太咸"], ["4", "\\n"]], ("编号", "评论")
    )
    predict.main(["--model", str(model), "--file", str(source), "--output", str(tmp_path / "out.xlsx")])
    with open_table(tmp_path / "out.xlsx") as table:
        rows = list(table.rows)
        assert table.columns == ["编号", "评论", "overall", "confidence", *ASPECTS, "error"]
    empty = [None, None, "empty"]
    assert [row[4:] for row in rows] == [["正面", "负面", None], empty, ["负面", "未提及", None], empty]
    predict.main(["--model", str(model), "--text", TEXT])
    shown = capsys.readouterr().out
    assert "口味  菜很香" in shown and "服务  人冷淡" in shown
    with pytest.raises(UserError, match="--text is empty"):
        predict.main(["--model", str(model), "--text", "\\n"])
    with pytest.raises(UserError, match="goes with --file"):
        predict.main(["--model", str(model), "--output", "x.csv"])


def test_no_two_columns_of_answers_have_one_name():
    columns = ["评论"]
    for names in (["overall", "confidence", "口味", "error"], ["overall_predicted", "口味_predicted"]):
        columns = answer_columns(columns, ["口味"])
        assert set(names) <= set(columns)
    columns = answer_columns(answer_columns(columns, ["口味"]), ["error", "口味_predicted"])
    assert len(set(columns)) == len(columns) == 1 + 3 * 4 + 5


@pytest.mark.parametrize("length", [0, 2, -1])
def test_a_length_that_holds_nothing_is_refused(length: int):
    with pytest.raises(UserError, match="--max-length is"):
        train.TrainConfig(max_length=length)


def test_traditional_reviews_are_trained_on(encoder: Path, tmp_path: Path):
    pytest.importorskip("opencc")
    rows = [[text.replace("热", "熱").replace("咸", "鹹"), *states] for text, *states in some_reviews(20)]
    for split in ("train", "dev"):
        write_table(tmp_path / f"data/{split}.csv", rows)
    args = flags(tmp_path / "data", tmp_path, "--bert-path", str(encoder), "--max-steps", "1")
    with pytest.raises(UserError, match="traditional Chinese, --convert"):
        train.main(args)
    train.main([*args, "--convert"])
    predictor = SentimentPredictor.load(tmp_path / "save/bert_aspects.pt")
    assert predictor.encode(["人熱情"]).columns == predictor.encode(["人热情"]).columns
