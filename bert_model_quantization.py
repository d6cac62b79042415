"""Make a trained model INT8: a quarter of the size and several times as fast on a CPU.

    python bert_model_quantization.py                           # the teacher
    python bert_model_quantization.py --model pruned            # prune, then quantize
    python bert_model_quantization.py --model soft              # the student
    python bert_model_quantization.py --data-dir my_data --max-drop 1

The teacher becomes bertclassifer_int8.onnx, the file to deploy, which needs neither torch nor transformers, and
quantized_model_bertclassifer_model.pt, a PyTorch state dict that is loaded by build -> quantize -> load. Of any other
model the ONNX file is made, named after it with _int8.onnx. A file that loses more than --max-drop points of accuracy
on dev.txt is not written. What each form costs and gains on this machine goes to reports/quantization/report.json.
Where OpenVINO is installed (requirements-openvino.txt), a BERT also becomes bertclassifer_int8.xml and .bin for it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from config import MODELS, Config
from core.compression import export
from core.compression.quantize import SAMPLE, TIMED, choose_variant, has_vnni, quantize_openvino, run_graph
from core.console import UserError, parse, run
from core.files import sha256, write_json
from core.measure.latency import compare_speed, spread_sample
from core.measure.metrics import headline, readable
from core.model_files import checkpoint, lineage, openvino_model
from core.model_files.facts import Facts, numbers_of, one_line, provenance
from core.model_files.find import find_model
from core.model_files.int8 import SCHEME, quantize
from core.model_files.module import CPU, restore_module, run_module
from core.model_files.names import OPENVINO
from core.model_files.predictor import Predictor
from core.training.device import measured_on
from tasks import own_folder, task_of

NO_OPENVINO = (
    "OpenVINO does not work here ({why}); the other files do without it: mend that and run this again to have it"
)
MIN_ROWS = 2000  # of the dev data; with fewer, a loss of half a point is a matter of luck


@dataclass
class QuantizeConfig:
    """Knobs of quantization."""

    model: str = "teacher"
    """Name (teacher, pruned, soft, hard) or path of the FP32 checkpoint to start from."""
    data_dir: Path | None = None
    """Folder with the dev data to measure accuracy on. None: data, or that of the model's task in it (data/ner)."""
    save_dir: Path | None = None
    """Folder that the INT8 files are written to. None: the one that the model lies in."""
    output: Path = Config.output
    """Folder for the report: quantization/ is made in it."""
    max_drop: float = 0.5
    """Points of accuracy on dev.txt that INT8 may lose; a file that loses more is not written."""

    def __post_init__(self) -> None:
        if not self.max_drop >= 0:
            raise UserError(f"--max-drop is {self.max_drop}: it must be 0 or more")


@dataclass
class Form:
    """The model in one precision on one runtime: how it predicts, what it costs, and how its file is written.

    Attributes:
        name: for people: "INT8 ONNX".
        runtime: "PyTorch", "ONNX" or "OpenVINO".
        predictor: the model.
        size: of the file in bytes; None: not written.
        path: of the file to write; None: it is only measured.
        fitted: the facts that are fitted to it; none where it is only measured.
        write: writes the model with its facts to a file.
    """

    name: str
    runtime: str
    predictor: Predictor
    size: int | None = None
    path: Path | None = None
    fitted: dict[str, Any] = field(default_factory=dict)
    write: Callable[[Path, Facts], None] | None = None


def fp32_forms(model: nn.Module, graph: bytes, predictor: Predictor, size: int) -> list[Form]:
    """The model in FP32, which INT8 is held against."""
    onnx = type(predictor)(predictor.facts, run_graph(graph))
    return [Form("FP32 PyTorch", "PyTorch", predictor, size), Form("FP32 ONNX", "ONNX", onnx, len(graph))]


def onnx_form(predictor: Predictor, int8_graph: bytes, variant: str, path: Path) -> Form:
    """INT8 for onnxruntime: the file to deploy."""

    def write(path: Path, facts: Facts) -> None:
        export.write(path, int8_graph, {**facts, "weights": variant})

    return Form("INT8 ONNX", "ONNX", type(predictor)(predictor.facts, run_graph(int8_graph)), path=path, write=write)


def openvino_form(predictor: Predictor, graph: bytes, items: Sequence[Any], path: Path) -> Form:
    """INT8 for OpenVINO."""
    columns = predictor.encode(spread_sample(items, SAMPLE)).columns
    rows = [
        predictor.collate({name: [values[row]] for name, values in columns.items()})
        for row in range(len(columns["input_ids"]))
    ]
    model, facts = quantize_openvino(graph, rows), predictor.facts
    int8 = type(predictor)(facts, openvino_model.run_model(model, facts))
    return Form("INT8 OpenVINO", "OpenVINO", int8, path=path, write=lambda p, f: openvino_model.write(p, model, f))


def try_openvino(predictor: Predictor, graph: bytes, items: Sequence[Any], path: Path) -> list[Form]:
    """INT8 for OpenVINO, which is optional: where it breaks, a warning and no form."""
    try:
        form = openvino_form(predictor, graph, items, path)
        form.predictor.predict(items[:1])
        return [form]
    except Exception as fault:  # its packages fail in any way, as without a home folder
        print(f"warning: {path.name} is not made: {NO_OPENVINO.format(why=one_line(fault))}")
        return []


def torch_form(model: nn.Module, predictor: Predictor, path: Path) -> Form:
    """INT8 for PyTorch, as a state dict.

    Raises:
        UserError: PyTorch cannot compute in INT8 on this machine.
    """
    quantized = quantize(model)
    int8 = type(predictor)(predictor.facts, run_module(quantized, CPU))
    return Form(
        "INT8 PyTorch", "PyTorch", int8, path=path, write=lambda p, f: checkpoint.save(p, quantized.state_dict(), f)
    )


def fall(before: dict[str, Any], after: dict[str, Any], best_by: str, max_drop: float) -> str | None:
    """A fall of the headline metric by more than `max_drop` points in words, else None."""
    name = headline(before, best_by)
    drop = 100 * (before[name] - after[name])
    if drop <= max_drop + 1e-9:
        return None
    figures = f"from {before[name]:.4f} to {after[name]:.4f}"
    return f"{readable(name)} on the dev data falls {figures}, by {drop:.2f} points, more than --max-drop {max_drop:g}"


def table(rows: Sequence[dict[str, Any]], best_by: str) -> str:
    """The rows of the report for people."""
    names = list(dict.fromkeys((headline(rows[0], best_by), best_by)))
    lines = [f"size MB  {''.join(f'{readable(name):<10}' for name in names)} p50 ms  x FP32  model"]
    for row in rows:
        size = "      -" if row["size_mb"] is None else f"{row['size_mb']:7.1f}"
        scores = "".join(f"{row[name]:10.4f}" for name in names)
        lines.append(f"{size}{scores} {row['p50_ms']:8.2f} {row['ratio_p50']:7.1f}  {row['name']}")
    return "\n".join(lines)


def write_forms(
    forms: Sequence[Form], metrics: Sequence[dict[str, Any]], facts: Facts, best_by: str, rows: int, max_drop: float
) -> list[str]:
    """Write the files of all forms that have one, but for those that lose too much; returns what was refused, and why.

    Args:
        forms: the first is the one in FP32 that the others are held against.
        metrics: of each, on the dev data.
        facts: of the INT8 model.
        best_by: the metric that models are selected by.
        rows: of the dev data.
        max_drop: points that may be lost.
    """
    refused = []
    for form, found in zip(forms, metrics, strict=True):
        if form.write is None:
            continue
        if fault := fall(metrics[0], found, best_by, max_drop):
            if rows >= MIN_ROWS:
                refused.append(f"{form.path} was not written: {fault}")
                continue
            print(f"warning: {form.path}: {fault}, but {rows} rows are too few to judge by")
        try:
            own = {"metrics": {"dev": found, "test": None}, **form.fitted}
            form.write(form.path, {**facts, **own})
        except Exception as fault:
            if form.runtime != "OpenVINO":
                raise
            print(f"warning: {form.path.name} is not made: {NO_OPENVINO.format(why=one_line(fault))}")
            continue
        form.size = openvino_model.size(form.path)
        lineage.descend(task_of(facts).models, form.path, facts)
        print(f"saved {form.path}")
    return refused


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(QuantizeConfig, argv, __doc__)
    export.import_onnx()
    path = find_model(config.model, MODELS, onnx=False)
    state_dict, facts = checkpoint.load(path)
    task = task_of(facts)
    model = restore_module(path, state_dict, facts, task.predictor.builds)
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8 already: give the FP32 checkpoint that it was made from with --model")
    data_dir = config.data_dir or own_folder(Config.data_dir, task)
    data = task.file(data_dir, "dev")
    task.check_labels(facts, data_dir)
    dev = task.read(data, facts["labels"], None)

    print(f"quantizing {path} ({facts['stage']}); measured on {data}: {len(dev)} rows")
    predictor = task.predictor(facts, run_module(model, CPU))
    graph = export.to_onnx(model, facts)
    variant, int8_graph, variants = choose_variant(graph, predictor, dev.items)
    vnni = "with" if has_vnni() else "without"
    print(f"INT8 weights: {variant}: the best of {len(variants)} on this CPU, {vnni} VNNI")
    is_teacher = path.name == MODELS["teacher"].path.name
    folder, stem = (
        config.save_dir or path.parent,
        MODELS["teacher_int8"].paths[0].stem if is_teacher else f"{path.stem}_int8",
    )
    forms = fp32_forms(model, graph, predictor, path.stat().st_size)
    forms.append(onnx_form(predictor, int8_graph, variant, folder / f"{stem}.onnx"))
    if openvino_model.is_installed() and "bert_config" in facts["architecture"]:
        forms += try_openvino(predictor, graph, dev.items, folder / f"{stem}{OPENVINO}")
    if is_teacher:
        state_dict = folder / MODELS["teacher_int8"].path.name
        try:
            forms.append(torch_form(model, predictor, state_dict))
        except UserError as fault:
            print(f"warning: {state_dict.name} is not made: {fault}")
    for form in forms:
        if form.write:
            form.fitted = task.refit(form.predictor, dev)
            form.predictor = task.predictor({**form.predictor.facts, **form.fitted}, form.predictor.run)
    fp32, *int8_forms = forms[1:]
    scored = task.score(fp32.predictor, dev, None)  # its logits are PyTorch's: the export has compared them
    metrics = [scored, scored, *(task.score(form.predictor, dev, None) for form in int8_forms)]
    speeds = compare_speed([form.predictor.predict for form in forms], spread_sample(dev.items, TIMED))

    int8 = {**facts, **provenance(), "stage": f"{facts['stage']}_int8", "parent_sha256": sha256(path)}
    int8["versions"]["onnxruntime"] = version("onnxruntime")
    int8["architecture"] = {**facts["architecture"], "quantization": SCHEME}
    refused = write_forms(forms, metrics, int8, task.best_by, len(dev), config.max_drop)

    rows = [
        {
            "name": form.name,
            "runtime": form.runtime,
            "size_mb": form.size / 1e6 if form.size else None,
            **numbers_of(found, task.best_by),
            "p50_ms": speed["p50_ms"],
            "ratio_p50": speeds[0]["p50_ms"] / speed["p50_ms"],
        }
        for form, found, speed in zip(forms, metrics, speeds, strict=True)
    ]
    report = {**measured_on(), "threads": os.cpu_count(), "vnni": has_vnni(), "model": facts["stage"]}
    report |= {"n": len(dev), "rows": rows, "weights": variant, "variants": variants}
    write_json(config.output / "quantization" / "report.json", report)
    print(table(rows, task.best_by))
    if refused:
        raise UserError(f"{'; '.join(refused)}: allow more with --max-drop, or quantize another model")


if __name__ == "__main__":
    run(main)
