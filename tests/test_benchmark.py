"""benchmark.py: which model to deploy, on models small enough to measure in a test."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, ROOT

import benchmark
import tasks
from bilstm_classifier import BiLSTMClassifier
from core.compression import export
from core.console import UserError
from core.files import sha256
from core.measure import benchmark_report
from core.measure.alone import measure_alone
from core.measure.benchmark_report import add_ratios, advise, choose, frontier, place_labels
from core.measure.latency import peak_mb
from core.measure.stats import wilson_interval
from core.model_files import checkpoint
from predict_fun import NewsClassifier

TEACHER = "save_models/test_bertclassifer_model.pt"
STUDENT = "models_save/bilstm_soft_distill"
CONTRACT = {"name", "runtime", "accuracy", "macro_f1", "size_mb", "params", "p50_ms", "p95_ms", "titles_per_s"}
CONTRACT |= {"ratio_p50", "ratio_throughput", "file", "encoder_flops", "cold_start_s", "peak_mb"}

ALIKE = dict.fromkeys(("cold_start_s", "peak_mb", "p50_ms", "p95_ms", "titles_per_s"), 1.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure once instead of several times."""
    monkeypatch.setattr(benchmark, "TURNS", 1)


@pytest.fixture
def models(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a teacher and an untrained student, both of its forms; it is the current one."""
    _, meta = checkpoint.load(teacher)
    student = BiLSTMClassifier(len(meta["vocab"]), len(LABELS), 8, 8).eval()
    meta |= {"stage": "soft", "architecture": student.architecture}
    (tmp_path / "save_models").mkdir()
    shutil.copy(teacher, tmp_path / TEACHER)
    checkpoint.save(tmp_path / f"{STUDENT}.pth", student.state_dict(), meta)
    export.export(student, tmp_path / f"{STUDENT}.onnx", meta)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report_in(folder: Path, name: str = "benchmark") -> dict:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def test_all_that_is_present(quick: None, models: Path, teacher: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    _, meta = checkpoint.load(teacher)
    bilstm = BiLSTMClassifier(len(meta["vocab"]), 2, 4, 4)
    others = {**meta, "stage": "hard", "architecture": bilstm.architecture, "labels": ["甲", "乙"]}
    checkpoint.save(Path("models_save/bilstm_hard_distill.pth"), bilstm.state_dict(), others)
    Path("models_save/pruned_model.pth").write_bytes(b"half")
    benchmark.main(["--data-dir", str(data), "--output", "out"])

    report, out = report_in(Path("out")), capsys.readouterr().out
    rows = {row["file"] or row["name"]: row for row in report["rows"]}
    assert [*rows] == ["majority", "linear", f"{STUDENT}.onnx", f"{STUDENT}.pth", TEACHER]
    assert re.search("left out: models_save.bilstm_hard_distill.pth: .* names other classes", out)
    assert "pruned_model.pth is damaged" in out
    assert all(row.keys() >= CONTRACT for row in rows.values())
    assert report["machine"] and report["threads"] >= 1 and isinstance(report["cpu_flags"], list)
    assert report["data"] == "test.txt, 20 titles" and report["data_sha256"] == sha256(data / "test.txt")

    assert rows["majority"]["accuracy"] == 7 / 20 and rows["majority"]["p50_ms"] is None
    assert rows[TEACHER]["accuracy"] == meta["metrics"]["test"]["accuracy"]
    assert rows[TEACHER]["macro_f1"] == pytest.approx(meta["metrics"]["test"]["macro_f1"])
    assert rows[f"{STUDENT}.onnx"]["accuracy"] == rows[f"{STUDENT}.pth"]["accuracy"] < rows["linear"]["accuracy"]
    for row in rows.values():
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    teachers = rows[TEACHER]
    assert (teachers["runtime"], teachers["ratio_p50"], teachers["ratio_throughput"]) == ("torch", 1, 1)
    for row in (row for row in rows.values() if row["name"] != "majority"):
        assert 0 < row["p50_ms"] <= row["p95_ms"] and row["titles_per_s"] > 0
        assert row["ratio_p50"] == pytest.approx(teachers["p50_ms"] / row["p50_ms"])
        assert row["ratio_throughput"] == pytest.approx(row["titles_per_s"] / teachers["titles_per_s"])
    assert teachers["params"] == sum(tensor.numel() for tensor in checkpoint.load(teacher)[0].values())
    assert teachers["size_mb"] == teacher.stat().st_size / 1e6 and teachers["encoder_flops"] > 0
    student = rows[f"{STUDENT}.onnx"]
    assert student["params"] == rows[f"{STUDENT}.pth"]["params"] and student["encoder_flops"] is None
    # a process without torch
    assert 20 < student["peak_mb"] < teachers["peak_mb"] - 50 and student["cold_start_s"] < teachers["cold_start_s"]

    assert "need no neural model" in report["advice"]
    assert "deploy linear" not in report["advice"] and "python api.py --model" in report["advice"]
    table = Path("out/benchmark.md").read_text(encoding="utf-8")
    assert "| soft | onnxruntime |" in table and report["advice"] in table
    assert Path("out/benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_models_that_are_asked_for(models: Path):
    assert [file.path for file in benchmark.find_files([f"{STUDENT}.onnx"])] == [Path(f"{STUDENT}.onnx"), Path(TEACHER)]
    assert [file.name for file in benchmark.find_files(["soft"])] == ["soft", "soft", "teacher"]
    assert [file.name for file in benchmark.find_files(["teacher", "bilstm_soft_distill.onnx"])][:1] == ["teacher"]
    with pytest.raises(UserError, match="run `python hard_label_distillation.py`"):
        benchmark.find_files(["hard"])
    for name in ("bertclassifer_int8.xml", "bertclassifer_int8.onnx"):
        Path("save_models", name).touch()
    runtimes = [(file.name, file.runtime) for file in benchmark.find_files([])]
    assert runtimes == [
        ("soft", "onnxruntime"),
        ("soft", "torch"),
        ("teacher", "torch"),
        ("teacher_int8", "onnxruntime"),
        ("teacher_int8", "openvino"),
    ]


def test_the_memory_of_a_process_is_its_own():
    large = bytearray(400_000_000)
    command = [sys.executable, "-c", "from core.measure.latency import peak_mb; print(peak_mb())"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(result.stdout) < 200 and len(large) / 1e6 < peak_mb()


def test_without_a_teacher_there_are_no_ratios(quick: None, models: Path, data: Path, monkeypatch, capsys):
    Path(TEACHER).unlink()
    Path(f"{STUDENT}.pth").unlink()
    shutil.copytree(data, "without_test")
    Path("without_test/test.txt").unlink()
    monkeypatch.setattr(benchmark, "measure_alone", lambda *_: ALIKE)
    benchmark.main(["--data-dir", "without_test", "--output", "out"])
    report = report_in(Path("out"))
    assert report["data"] == "dev.txt, 20 titles"
    assert all(row["ratio_p50"] is None for row in report["rows"]) and report["rows"][2]["name"] == "soft"
    assert "without a teacher (`python train.py`) there" in capsys.readouterr().out


def row(name: str, p50_ms: float | None, accuracy: float, **more) -> dict:
    return {"name": name, "p50_ms": p50_ms, "accuracy": accuracy, "titles_per_s": 1.0, "file": f"{name}.onnx", **more}


def test_the_frontier_and_the_advice():
    rows = [row("a", 5.0, 0.90), row("b", 1.0, 0.80), row("c", 2.0, 0.80), row("d", 3.0, 0.896), row("e", None, 0.99)]
    assert [one["name"] for one in frontier(rows)] == ["b", "d", "a"]
    assert advise(rows) == (
        "deploy d on this machine (python api.py --model d): 3.00 ms a title, accuracy 89.60%, "
        "the fastest within half a point of the best (a, 90.00%)"
    )
    rows[3]["accuracy"] = 0.894
    assert advise(rows).startswith("deploy a") and advise(rows).endswith("the best of all")
    twins = [row("soft", 1.0, 0.9, runtime="torch"), row("soft", 0.5, 0.9, runtime="onnxruntime", file="s.onnx")]
    assert advise(twins).startswith("deploy soft (onnxruntime) on this machine (python api.py --model s.onnx)")


@pytest.mark.parametrize("name", ["linear", "linear_offsets", "crf", "clause, rules"])
def test_a_baseline_is_told_of_and_a_model_with_a_file_advised(name: str):
    rows = [row("a", 5.0, 0.90), row("d", 3.0, 0.896)]
    plain = advise(rows)
    for accuracy, p50_ms, figure in ((0.91, 0.5, "91.00%"), (0.903, 9.0, "90.30%")):
        both = [row(name, p50_ms, accuracy, file=None), *rows]
        assert choose(both) is rows[1]
        assert advise(both) == (
            f"{name} ({figure}) is the best, so these texts need no neural model, but there is no file of it to serve: "
            "deploy d on this machine (python api.py --model d): 3.00 ms a title, accuracy 89.60%, "
            "the fastest within half a point of the best that has a file (a, 90.00%)"
        )
    as_good = advise([row(name, 0.5, 0.897, file=None), *rows])
    assert as_good.startswith(f"{plain}; {name} (89.70%) is as good") and as_good.endswith("no file of it to serve")
    assert advise([row(name, 0.5, 0.89, file=None), *rows]) == plain
    alone = advise([row(name, 0.5, 0.9, file=None), row("majority", None, 0.99, file=None)])
    assert "deploy" not in alone and f"{name} (90.00%) is the best" in alone


@pytest.mark.parametrize(
    ("task", "command"),
    [("classification", "train.py"), *((name, f"-m {name}.train") for name in ("ner", "aspect_sentiment", "qa"))],
)
def test_the_command_that_trains_is_that_of_the_task(task: str, command: str):
    assert benchmark.how_to_train(tasks.task_of({"task": task})) == f" (`python {command}`)"


def test_ratios_above_one_are_faster():
    rows = [row("eager", 8.0, 0.9), row("fast", 2.0, 0.9), row("majority", None, 0.1)]
    rows[1]["titles_per_s"] = 3.0
    add_ratios(rows, rows[0])
    assert [(one["ratio_p50"], one["ratio_throughput"]) for one in rows] == [(1, 1), (4, 3), (None, None)]


def test_labels_cover_neither_one_another_nor_a_point(tmp_path: Path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(9, 6), dpi=120)
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    x = np.array([1.0, 1.01, 1.02, 50, 51, 52, 53, 1.0, 60])
    y = np.array([90.0, 90.1, 90.05, 90, 90, 90, 99, 10, 99])
    axes.scatter(x, y)
    axes.set_xscale("log")
    canvas.draw()
    texts = place_labels(axes, x, y, [f"a model with a long name {index}" for index in range(len(x))])
    canvas.draw()
    boxes = [Text.get_window_extent(text) for text in texts]  # of an annotation without its line
    points = axes.transData.transform(np.column_stack((x, y)))
    for index, box in enumerate(boxes):
        assert axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1 and axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        assert not any(box.contains(*point) for point in points)
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_the_interval_of_an_accuracy():
    assert wilson_interval(0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert wilson_interval(90, 100) == pytest.approx((0.8256, 0.9448), abs=1e-3)
    low, high = wilson_interval(9000, 10000)
    assert high - low < 0.012


def test_a_model_that_fails_in_a_process_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(UserError, match="could not be opened in a process of its own"):
        measure_alone(NewsClassifier, tmp_path / "none.onnx", ["title"])
    assert "there is no file" in capfd.readouterr().err


def test_cells_of_what_was_not_measured():
    assert benchmark_report._cell(row("majority", None, 0.1), benchmark_report.COLUMNS["p50 ms"]) == "–"
