"""The tables of the READMEs: made of what the commands write, in two languages, and told when they are not."""

import json
import os
import re
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmark import FIELDS
from config import MODELS
from core.console import UserError
from core.files import write_json
from core.measure import benchmark_report
from core.measure.benchmark_report import add_ratios
from experiments import ablation_report, least_sure, ner, qa, readme, rows, servers, serving, students
from experiments.readme import KINDS
from experiments.readme_words import CHINESE, ENGLISH

ALL_PAGES = readme.PAGES
# Where each page has its results; no figure of theirs is typed by hand.
TRUE = [0, 1, 2, 1] * 50
RIGHT, WRONG = TRUE, [0] * 200
MACHINE = {"machine": "a machine", "date": "2026-01-02", "threads": 2}
MARKER, END = "<!-- table: rows news/rows.json -->", "<!-- /table -->"


def rows_report(linear: list[int] = WRONG) -> dict[str, Any]:
    def cell(count: int, model: str, predicted: list[int]) -> dict[str, Any]:
        scores = {"accuracy": float(np.mean(np.array(predicted) == TRUE)), "macro_f1": 0.625, "seconds": 3.0}
        return {"rows": count, "model": model, **scores, "predicted": " ".join(map(str, predicted))}

    cells = [
        cell(count, *of) for count in (1000, 20000) for of in (("linear", linear), ("bert", RIGHT), ("bert", RIGHT))
    ]
    return {**MACHINE, "summary": rows.summarise(cells, TRUE)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pages and results of a data set called news."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme, "cjk_font", lambda: "a font")
    monkeypatch.setattr(readme, "PAGES", {Path(name): ALL_PAGES[Path(name)] for name in ("README.md", "README_EN.md")})
    write_pages(f"before\n\n{MARKER}\n{END}\n\nafter\n")
    write_json(tmp_path / "results/news/rows.json", rows_report())
    return tmp_path


def write_pages(text: str) -> None:
    for page in readme.PAGES:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8", newline="\n")


def pages() -> list[str]:
    return [page.read_bytes().decode("utf-8") for page in readme.PAGES]


def test_both_languages_from_the_same_file(project: Path):
    readme.main([])
    chinese, english = pages()
    assert english.startswith(
        f"before\n\n{MARKER}\n\n"
        "| Training titles | Linear model | BERT | Difference, 95 % interval | p | Macro-F1, linear | Macro-F1, BERT "
        f"| Training, linear | Training, BERT |\n{'|---' * 9}|\n| 1,000 | 25.00 % | 100.00 % | +75.00 ("
    )
    assert english.endswith(f"| 0.625 | 0.625 | 3 s | 3 s |\n\n{END}\n\nafter\n")
    assert "| 训练标题 | 线性模型 | BERT | 差值（95 % 置信区间） | p | Macro-F1，线性 | Macro-F1，BERT |" in chinese
    assert "| 0.625 | 0.625 | 3 秒 | 3 秒 |" in chinese
    readme.main([])
    assert pages() == [chinese, english]
    readme.main(["--check"])


def test_stale_figures_are_told_one_by_one_and_nothing_is_changed(project: Path):
    readme.main([])
    README, _ENGLISH_PAGE = readme.PAGES
    README.write_text(README.read_text(encoding="utf-8").replace("25.00", "99.90"), encoding="utf-8", newline="\n")
    edited = pages()
    with pytest.raises(UserError) as told:
        readme.main(["--check"])
    assert str(told.value).splitlines() == [
        f"README.md: {MARKER} is not what {Path('results/news/rows.json')} says: run `python -m experiments.readme`"
    ]
    assert pages() == edited
    write_json(project / "results/news/rows.json", rows_report(linear=RIGHT[:120] + WRONG[:80]))
    with pytest.raises(UserError) as told:
        readme.main(["--check"])
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == ["README.md", "README_EN.md"]
    readme.main([])
    assert all("99.90" not in page and "70.00" in page for page in pages())


def test_a_file_that_is_not_there_yet(project: Path, capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(project / "results")
    before = pages()
    readme.main(["--check"])
    readme.main([])
    assert pages() == before
    assert f"there is no {Path('results/news/rows.json')} yet" in capsys.readouterr().out
    write_json(project / "results/news/rows.json", rows_report())
    readme.main([])
    filled = pages()
    shutil.rmtree(project / "results")
    for flags in ([], ["--check"]):  # a table is never lost
        with pytest.raises(UserError, match="has figures at .* but there is no .*rows.json: bring it back"):
            readme.main(flags)
    assert pages() == filled


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{MARKER}\n", f"{MARKER}, which is no half of"),
        (f"{MARKER}\n{MARKER}\n{END}\n", f"{MARKER}, which is no half of"),
        (f"{MARKER}\n{END}\n{END}\n", f"{END}, which is no half of"),
        (f"<!-- table: rows -->\n{END}\n", "<!-- table: rows -->, which is no half of"),
        (f"<!--table: rows news/rows.json-->\n{END}\n", "no half of <!-- table: KIND FILE --> … <!-- /table -->"),
        (f"<!-- table: row news/rows.json -->\n{END}\n", "there is no such kind, take one of speed"),
    ],
)
def test_wrong_comments(project: Path, text: str, told: str):
    Path("README_EN.md").write_text(text, encoding="utf-8")
    before = pages()
    with pytest.raises(UserError, match=f"^README_EN.md has .*{re.escape(told)}"):
        readme.main([])
    assert pages() == before  # README.md too


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"accuracy": 1}', '{"rows": 3}', "\udcff"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_file_of_something_else(project: Path, kind: str, content: str):
    write_pages(f"<!-- table: {kind} it.json -->\n{END}\n")
    Path("results/it.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(
        UserError, match=f"it.json is damaged, unfinished or not of this kind: run `{KINDS[kind].command}`"
    ):
        readme.main([])


def test_other_faults(project: Path):
    write_json(Path("results/news/rows.json"), {**MACHINE, "cells": [1], "summary": []})
    with pytest.raises(UserError, match="holds no figures yet: run `python -m experiments.rows` to its end"):
        readme.main([])
    Path("README.md").unlink()
    with pytest.raises(UserError, match="README.md cannot be read: run this in the folder of the project"):
        readme.main([])


def students_report() -> dict[str, Any]:
    names = ("majority", "linear", *students.STUDENTS, "teacher")
    table = [students.summarise(name, TRUE, [WRONG, RIGHT], ["a", "b", "c"]) for name in names]
    for row in table[1:]:
        row["seconds"] = 5.0
    for row in table[2:]:
        row |= {"params": 1_000_000, "size_mb": 4.0, "p50_ms": 0.5}
    compared = students.compare(table, TRUE, students.PAIRS)
    return {**MACHINE, "updates": 100, "rows": table, **compared}


def ablation_rows() -> dict[str, Any]:
    def cell(recipe: str, predicted: list[int]) -> dict[str, Any]:
        facts = {"data": "news", "rows": 5000, "recipe": recipe, "seconds": 9.0, "git_commit": "0123456789"}
        return {**facts, **dict.fromkeys(("dev", "test"), " ".join(map(str, predicted)))}

    cells = {"plain": [cell("plain", WRONG)], "fgm@0.5": [cell("fgm@0.5", RIGHT)]}
    table = [
        row for split in ("dev", "test") for row in ablation_report.summarise(cells, split, TRUE, 3, "plain", "plain")
    ]
    return {**MACHINE, "rows": table}


def benchmark_rows() -> dict[str, Any]:
    speeds = {"p50_ms": 2.0, "p95_ms": 3.0, "titles_per_s": 1000.0, "size_mb": 30.0, "params": 8_000_000}
    scores = {"accuracy": 0.9, "accuracy_low": 0.89, "accuracy_high": 0.91, "macro_f1": 0.88}
    models = (("majority", "none", {}), ("linear", "scikit-learn", {"p50_ms": 1.0, "titles_per_s": 5000.0}))
    models += (("soft", "onnxruntime", speeds), ("teacher", "torch", speeds))
    table = [{**dict.fromkeys(FIELDS), "name": name, "runtime": it, **scores, **more} for name, it, more in models]
    add_ratios(table, table[-1])
    return {**MACHINE, "cpu_flags": ["avx2"], "data": "test.txt", "rows": table, "advice": "deploy soft"}


def speed_report() -> dict[str, Any]:
    rates = {"plain_titles_per_s": 100.0, "plain_peak_mb": 1500.0, "fit_titles_per_s": 250.0, "fit_peak_mb": 900.0}
    table = [{"shape": shape, **rates, "ratio": 2.5} for shape in ("small", "bert-base")]
    return {**MACHINE, "settings": {"batch_size": 64}, "rows": table}


def teacher_once_report() -> dict[str, Any]:
    ways = (("teacher in every step", 240.0), ("teacher once", 48.0), ("teacher once, on cpu in bfloat16", 24.0))
    table = [{"name": way, "seconds_a_1000_titles": taken, "ratio": 240 / taken} for way, taken in ways]
    return {**MACHINE, "epochs": 10, "titles": 512, "rows": table}


def calibration_report() -> dict[str, Any]:
    coverage = [{"min_confidence": 0.5, "coverage": 1.0, "accuracy": 0.9}]
    coverage.append({"min_confidence": 0.8, "coverage": 0.75, "accuracy": 0.98})
    figures = {"n": 400, "accuracy": 0.9, "ece": 0.021, "ece_uncalibrated": 0.064, "ece_by_chance": 0.018}
    figures["temperature"] = 1.5
    table = [{"name": name, **figures, "coverage": coverage} for name in ("teacher", "teacher_int8", "soft")]
    return {**MACHINE, "data_sha256": "0" * 64, "rows": table}


def label_errors_report() -> dict[str, Any]:
    found = {"n": 2000, "swapped": 40, "listed": 300, "found_at_the_head": 30, "found": 36, "agreement": 0.9}
    cells = [{"model": model, "seed": seed, **found} for model in ("linear", "bert") for seed in (1, 2)]
    return {**MACHINE, "cells": cells}


def least_sure_report() -> dict[str, Any]:
    scores = {"accuracy": 0.5, "macro_f1": 0.625}
    kinds = zip(least_sure.CHOICES, (WRONG, WRONG, RIGHT), strict=True)
    cells = [{"choice": choice, "seed": 1, **scores, "predicted": " ".join(map(str, each))} for choice, each in kinds]
    settings = {"rows": 700, "add": 200}
    return {**MACHINE, "settings": settings, "cells": cells, "summary": least_sure.summarise(cells, TRUE)}


def bulk_cells() -> dict[str, Any]:
    cell = {"rows": 1000, "seconds": 20.0, "titles_per_s": 50.0, "driver_mb": 276.4}
    cells = [{"what": "predict_fun", **cell}, {"what": "2", **cell, "seconds": 10.0, "titles_per_s": 100.0}]
    cells[1]["to_first_part_s"] = 3.1
    cells += [{"what": "killed", "rows": 1000, "kills": 2, "lost": 0, "twice": 1, "compared": 900, "other_classes": 3}]
    return {**MACHINE, "cells": [*cells, {"what": "nodes", "rows": 1000, "rows_by_node": [400, 600]}]}


def tuning_report() -> dict[str, Any]:
    found = {"difference": 0.01, "low": -0.01, "high": 0.03, "p": 0.2}
    counts = {"complete": 9, "pruned": 3, "failed": 0, "seconds": 100}
    gain = {**counts, "seed": 1, "dev_default": 0.8, "dev_best": 0.81, "test_default": 0.7, "test_best": 0.71}
    kills = {"ended": [1, 2], "found": 12, "lost": 0}
    pruning = [{**counts, "pruner": "median", "dev_best": 0.81}]
    gains = [{**gain, "against": found, "advised": "default"}]
    summaries = {"summary": found, "summary_advised": found}
    return {**MACHINE, "gain": gains, **summaries, "pruning": pruning, "kills": [kills]}


class Answer(BaseHTTPRequestHandler):
    """A server that has one answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = json.dumps({"pred_class": "财经", "confidence": 1.0}).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serving_report(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What experiments/serving.py writes, measured for moments on a server and a model that only answer."""
    monkeypatch.setattr(ThreadingHTTPServer, "request_queue_size", 64)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    @contextmanager
    def running(*_: Any):
        yield url, SimpleNamespace(pid=os.getpid(), kill=lambda: None, wait=lambda: None)

    monkeypatch.setattr(serving, "api_server", running)
    monkeypatch.setattr(serving, "running_function", running)
    monkeypatch.setattr(serving, "in_own_process", lambda function, *args: function(*args))
    real = serving.measure_load
    monkeypatch.setattr(serving, "measure_load", lambda *args, **rate: real(*args[:3], min(args[3], 0.2), **rate))
    monkeypatch.setattr(serving, "NewsClassifier", SimpleNamespace(load=lambda *_: servers.Nothing()))
    model = data / "class.txt"  # any file
    flags = ["--model", str(model), "--fp32", str(model), "--data-dir", str(data), "--output", str(tmp_path)]
    flags += ["--seconds", "0.1", "--rounds", "1", "--minutes", "0.01", "--crowd", "20", "--titles", "20"]
    serving.main([*flags, "--parts", *serving.RATES, "overload", "soak", "restart", "equal"])
    server.shutdown()
    server.server_close()
    return json.loads((tmp_path / "api_benchmark.json").read_text(encoding="utf-8"))


REPORTS = {"rows": rows_report, "students": students_report, "ablation": ablation_rows, "benchmark": benchmark_rows}
REPORTS |= {"speed": speed_report, "teacher_once": teacher_once_report, "calibration": calibration_report}
REPORTS |= {"label_errors": label_errors_report, "least_sure": least_sure_report}


def compared(**more: Any) -> dict[str, Any]:
    return {"difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.001, **more}


def ner_report() -> dict[str, Any]:
    crf = {"model": "crf", "rows": 500, "f1": [0.7], "unseen_f1": 0.5, "seconds": 3.0}
    ours = {"model": "both", "rows": 500, "f1": [0.71, 0.73], "unseen_f1": 0.6, "seconds": 60.0}
    return {**MACHINE, "summary": [crf, {**ours, **compared(against="crf")}]}


def qa_report() -> dict[str, Any]:
    rules = {"model": "clause, rules", "rows": 500, "f1": [0.3], "em": [0.1], "seconds": None}
    ours = {"model": "reader", "rows": 500, "f1": [0.32], "em": [0.12], "seconds": 60.0}
    return {**MACHINE, "summary": [rules, {**ours, **compared(against="clause, rules")}]}


def aspects_report() -> dict[str, Any]:
    linear = {"model": "linear", "dev": [0.6], "dev_aspects": 0.5, "test": {"pooled_f1": 0.58}, "seconds": None}
    test = {"pooled_f1": 0.6, "aspect_f1": 0.5, "merged_f1": 0.55, "against_linear": compared()}
    ours = {"model": "attention", "dev": [0.62, 0.64], "dev_aspects": 0.55, "test": test, "seconds": 60.0}
    return {**MACHINE, "summary": [linear, {**ours, **compared(against="linear")}]}


REPORTS |= {"bulk": bulk_cells, "tuning": tuning_report, "ner": ner_report, "qa": qa_report, "aspects": aspects_report}
SHOWN = {
    "rows": ("| 1,000 | 25.00 % | 100.00 % | +75.00 (", "| 训练标题 | 线性模型 | BERT |"),
    "students": (
        "| 5 |\n\n- BiLSTM, soft + transfer against BiLSTM alone: +0.0 points",
        "- “BiLSTM，软标签 + 更多标题”对“BiLSTM，没有教师”：+0.0 个百分点",
    ),
    "ablation": ("| fgm@0.5 | 100.00 % | 100.00 % | +", "**news，训练 5,000 条，test**（差值是与 plain 相比）"),
    "benchmark": (
        "| `soft` student (soft) | ONNX Runtime | 90.00 % (89.0 %–91.0 %) | 88.00 % | 30.0 | 2.00 | 1.0× | 1,000 |",
        "| 模型 |",
    ),
    "calibration": (
        "| `teacher_int8` teacher + INT8 | 90.0 % | 6.4 % | 2.1 % | 1.8 % | 1.50 | 75.0 % | 98.0 % |",
        "| 模型 | 准确率 | 校准误差，之前 |",
    ),
    "label_errors": (
        "| linear model | 2,000 | 40 | 2 | 300 | 75.0 % (",
        "| BERT | 2,000 | 40 | 2 | 300 | 75.0 %（",
    ),
    "least_sure": (
        "| 700 titles, and the 200 least sure ones | 50.00 % | 50.00 % | +75.0 (",
        "- 最没把握的对随机的：+75.00 个百分点",
    ),
    "bulk": ("| `bulk_predict.py --workers 2` | 1,000 | 10 | 100 | 2.00× | 3 | 276 |", "丢失 0 行，重复 1 行"),
    "ner": (
        "| BERT, reads words and characters | 500 | 72.00 % | 71.00 % · 73.00 % | 60.00 % | linear-chain CRF | +2.00 (",
        "| 线性链 CRF | 500 | 70.00 % | – |",
    ),
    "qa": (
        "| small BERT | 500 | 12.00 % | 32.00 % | – | the nearest clause, cut by rules | +2.00 (+1.0 to +3.0) | 0.0010",
        "| 小 BERT | 500 |",
    ),
    "aspects": (
        "- BERT, each aspect attends by itself against the linear model on test, pooled F1: +2.00 (",
        "| BERT，每个方面各自注意 | 63.00 % | 62.00 % · 64.00 % | 55.00 % | 线性模型 |",
    ),
    "tuning": ("| 1 | 12 (3) | 80.00 % | 81.00 % | 70.00 % | 71.00 % | +1.0 (", "提前停止 3 次"),
    "speed": ("| the shape of BERT-base, batches of 16 | 100 | 250 | 2.5× | 1.50 GB | 0.90 GB |", "每批 64"),
    "teacher_once": (
        "| teacher in every step, FP32 | 400 | 1.0× |\n| teacher once, FP32 | 80 | 5.0× |\n| teacher once, bf16 | 40 |",
        "- 教师是 BERT-base 的形状；由 512 条标题的一遍推算",
    ),
}


def all_in_chinese(text: str) -> bool:
    """Whether no English word is left over but those that are names; numbers and units aside."""
    names = r"`[^`]+`|bert-mini-chinese|BERT-base|BiLSTM|BERT|TF-IDF|SVM|CRF|INT8|FP32|GB|MB|[Mm]acro-F1|F1|EM|EDA"
    names += r"|ONNX Runtime|PyTorch|OpenVINO|Flask|scikit-learn|\bp\d*\b|kill -9|bf16|fgm@0.5|plain|news|test"
    names += r"|\b[0-9a-f]{7}\b|8\.0 M|1\.0 M"
    return not re.search(r"[A-Za-z]", re.sub(names, "", text))


@pytest.mark.parametrize("kind", sorted(REPORTS))
def test_tables_and_pictures_of_what_the_commands_write(project: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    assert SHOWN.keys() == REPORTS.keys() == KINDS.keys() - {"serving", "shortlist"}
    write_pages(f"<!-- table: {kind} it/it.json -->\n{END}\n![it](results/it/it.png)![it](results/it/it.zh.png)\n")
    write_json(Path("results/it/it.json"), REPORTS[kind]())
    drawn, names = [], ("it.png", "it.zh.png")

    def write_picture(path: Path, figure: Figure) -> None:
        drawn.append([text for text in figure.findobj(Text) if text.get_text()])
        path.write_bytes(path.name.encode())

    for module in (benchmark_report, rows, students, ablation_report, ner, qa):
        monkeypatch.setattr(module, "write_picture", write_picture)
    for name in names if KINDS[kind].draw is None else ():
        Path("results/it", name).write_bytes(b"by hand")
    readme.main([])
    assert len(drawn) == (0 if KINDS[kind].draw is None else 2)
    for text in drawn[1] if drawn else ():
        assert all_in_chinese(text.get_text().replace("CPU ", "")), text
    chinese, english = pages()
    assert SHOWN[kind][0] in english and SHOWN[kind][1] in chinese
    assert re.findall(r"\d+\.\d+", chinese) == re.findall(r"\d+\.\d+", english)
    table = chinese.partition("-->")[2].partition(END)[0]
    assert all_in_chinese(table), table
    assert (
        "a machine" not in english
        and "deploy" not in english
        and ("dev" not in english or kind in ("tuning", "aspects"))
    )
    assert not re.search(r"\| (linear|majority|onnxruntime|torch) \|", english)
    for name in names:
        found = Path("results/it", name).read_bytes()
        assert found == (b"by hand" if KINDS[kind].draw is None else name.encode())


def test_the_table_of_the_server(serving_report: dict[str, Any]):
    english, chinese = (KINDS["serving"].table(serving_report, words) for words in (ENGLISH, CHINESE))
    assert english.startswith(f"**{serving_report['model']}**\n\n| Server | Clients | Answers/s | p50, ms |")
    rate = serving_report["server"]["16 client(s)"]
    assert (
        f"| `api.py` | 16 | {rate['requests_per_s']:,.0f} | {rate['p50_ms']:,.1f} | {rate['p95_ms']:,.1f} |" in english
    )
    assert english.count("\n| ") == 1 + 2 * 4  # the headers, and four parts asked in two ways each
    crowd = serving_report["overload"]["crowd"]
    assert (
        f"- 20 clients for {crowd['seconds']:.0f} s: 200 × {crowd['statuses']['200']:,}; without an answer: 0; memory "
        in english
    )
    assert "gives: 20 of 20 titles" in english
    assert english.count("\n- ") == 4 and all_in_chinese(chinese.partition("\n")[2]), chinese
    assert re.findall(r"\d+\.\d+", chinese) == re.findall(r"\d+\.\d+", english)
    few = {name: serving_report[name] for name in ("model", "soak")}
    assert KINDS["serving"].table(few, ENGLISH).count("\n- ") == 1
    rates = {name: serving_report[name] for name in ("model", "server")}
    assert KINDS["serving"].table(rates, ENGLISH).endswith(" |")


def test_no_model_is_shown_by_the_name_of_its_file(project: Path):
    report = benchmark_rows()
    paths = [(name, path) for name, artefact in MODELS.items() for path in artefact.paths if name != "teacher"]
    report["rows"] = [{**report["rows"][2], "name": name, "file": path.as_posix()} for name, path in paths]
    write_pages(f"<!-- table: benchmark it.json -->\n{END}\n")
    write_json(Path("results/it.json"), report)
    readme.main([])
    for page in pages():
        shown = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)[1:]
        assert [cell.split("`")[1] for cell in shown] == [name for name, _ in paths]
        assert not re.search(r"[._]", "".join(cell.split("`")[2] for cell in shown)), shown
    assert all_in_chinese(pages()[0].partition("-->")[2].partition(END)[0])


def test_less_than_a_second():
    report = rows_report()
    report["summary"][0] |= {"linear_seconds": 0.4, "bert_seconds": 1.0}
    assert "| <1 s | 1 s |" in KINDS["rows"].table(report, ENGLISH)


def test_without_the_test_titles_the_ablation_shows_the_dev_titles():
    report = ablation_rows()
    report["rows"] = [row for row in report["rows"] if row["split"] == "dev"]
    assert "5,000 training rows, dev" in KINDS["ablation"].table(report, ENGLISH)


def test_pictures(project: Path):
    write_pages("![one](results/one.png) ![far](https://example.org/two.png)\n")
    with pytest.raises(UserError, match="^README_EN.md shows .*one.png, which does not exist$"):
        readme.main(["--check"])
    Path("results/one.png").write_bytes(b"here")
    readme.main(["--check"])
    # a picture that no page shows is not drawn
    write_pages(f"<!-- table: rows rows.json -->\n{END}\n")
    write_json(Path("results/rows.json"), rows_report())
    readme.main([])
    assert not Path("results/rows.png").exists()


def test_a_picture_in_chinese_needs_a_chinese_font(project: Path, monkeypatch: pytest.MonkeyPatch):
    write_pages(f"<!-- table: rows rows.json -->\n{END}\n![it](results/rows.zh.png)\n")
    write_json(Path("results/rows.json"), rows_report())
    monkeypatch.setattr(readme, "cjk_font", lambda: None)
    with pytest.raises(UserError, match="pictures in Chinese need a Chinese font"):
        readme.main([])


def test_the_pages_of_the_results_show_pictures_beside_them(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readme, "PAGES", ALL_PAGES)
    write_pages("before\n")
    Path("results/README.md").write_text(f"{MARKER}\n{END}\n![it](news/rows.png)\n", encoding="utf-8")
    with pytest.raises(UserError, match="README.md shows .*rows.png, which does not exist"):
        readme.main(["--check"])
    readme.main([])
    assert "| 训练标题 |" in Path("results/README.md").read_text(encoding="utf-8")
    assert Path("results/news/rows.png").is_file()


def test_the_real_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    readme.main(["--check"])
    shown = {page: readme.TABLE.findall(page.read_text(encoding="utf-8")) for page in readme.PAGES}
    kinds = {page: sorted(kind for _, kind, *_ in found) for page, found in shown.items()}
    assert all(kinds.values())
    for page in readme.PAGES:
        if page.parent == Path("docs"):
            assert kinds[page] == kinds[page.with_name(f"{page.name.split('.')[0]}.en.md")]
    assert kinds[Path("README.md")] == kinds[Path("README_EN.md")] == ["shortlist"]
    assert {"rows", "benchmark", "speed", "students", "ablation", "serving"} <= {
        kind for found in kinds.values() for kind in found
    }
    heads = {Path("README.md"): ("## 结果", "## 部署"), Path("README_EN.md"): ("## Results", "## Deploy")}
    for page, (start, end) in heads.items():
        text = page.read_text(encoding="utf-8")
        results = readme.TABLE.sub("", text[text.index(start) : text.index(end)])
        assert not re.search(r"^\|", results, re.MULTILINE)  # no table of figures by hand
