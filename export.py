"""Hand a trained model on: as a folder of the Hugging Face hub, or as an ONNX file.

    python export.py --model teacher --format hf --output my_model       # for AutoModelForSequenceClassification
    python export.py --model soft_bert --format onnx --output my_model   # for onnxruntime, of any model

The folder holds the model, a tokenizer that AutoTokenizer opens, and a model card (README.md) with classes, figures and
licence. What is written is opened again and gives the same logits, or it is refused. A model on the mean of its states,
as those of bert-mini-chinese are, has no equal in transformers: hand it on as ONNX.
"""

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tasks
from config import MODELS
from core.compression import export, hf_folder
from core.console import UserError, parse, quoted, run
from core.files import require_folder
from core.model_files import checkpoint
from core.model_files.facts import INPUTS, UNKNOWN, Facts, licence_of, numbers_of
from core.model_files.find import find_model
from core.model_files.module import restore_module
from core.text.tokenizer import Tokenizer

WRITTEN = {"README.md", "config.json", "model.safetensors", "model.onnx", "tokenizer.json", "tokenizer_config.json"}
OPEN = {
    "hf": """```python
from transformers import pipeline
print(pipeline("text-classification", "这个文件夹的路径")("SpaceX 星舰今日成功发射"))
```""",
    "onnx": """```
python predict_fun.py --model 这个文件夹/model.onnx --text "SpaceX 星舰今日成功发射"
```

不用本项目的代码：`onnxruntime` 打开 `model.onnx`，输入 {inputs}（int64，形状 batch × token），输出 `logits`；
token 由 `AutoTokenizer.from_pretrained` 或 `tokenizers` 库读 `tokenizer.json` 得到。""",
}
CARD = """---
{licence}
pipeline_tag: text-classification
tags:
- bert
---

# {stage}：{count} 类文本分类

由 BERT-News-Classifier {project} 训练并导出。

| | |
|---|---|
| 类别 | {count} 个：{labels} |
| 最大长度 | {max_length} 个 token，{cut} |
| 训练数据 | {rows}，指纹 `{data}` |
{metrics}
| 置信度 | softmax(logits / {temperature:.4g})，温度在验证集上定 |
| 许可证 | {terms} |

## 怎么打开

{open}
"""
# Those that the hub knows by these words.
LICENCES = (UNKNOWN, "mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "bsd-3-clause")
SPLITS = {"dev": "验证集", "test": "测试集"}
CUTS = {
    "end": "更长的文本截去末尾",
    "head_tail": "更长的文本截去中间（`tokenizer.json` 只会截去末尾，这样的文本结果会不同）",
}


@dataclass
class ExportConfig:
    """Knobs of an export."""

    output: Path
    """Folder to write; it must not be there yet, or be an earlier export."""
    model: str = "teacher"
    """Name (teacher, soft_bert, …) or path of a checkpoint (.pt, .pth)."""
    format: Literal["hf", "onnx"] = "hf"
    """hf: a Hugging Face folder. onnx: an ONNX file with its tokenizer."""


def main(argv: Sequence[str] | None = None) -> None:
    config = parse(ExportConfig, argv, __doc__)
    if config.output.exists() and not (
        config.output.is_dir() and {path.name for path in config.output.iterdir()} <= WRITTEN
    ):
        raise UserError(f"{config.output} is there already, and no export: give another --output")
    path = find_model(config.model, MODELS, onnx=False)
    state_dict, facts = checkpoint.load(path)
    if facts["architecture"].get("quantization"):
        raise UserError(f"{path} is INT8: hand on the ONNX file that bert_model_quantization.py wrote beside it")
    if config.format == "hf" and (reason := hf_folder.why_not(facts["architecture"])):
        instead = f"python export.py --model {quoted(config.model)} --format onnx --output {quoted(config.output)}"
        raise UserError(f"{path} {reason}: run `{instead}`")
    model = restore_module(path, state_dict, facts, tasks.task_of(facts).predictor.builds)

    require_folder(config.output.parent, 2 * path.stat().st_size)
    part = config.output.with_name(f".{config.output.name}.{secrets.token_hex(8)}.tmp")
    part.mkdir()
    try:
        if config.format == "hf":
            hf_folder.write_hf(model, facts, part)
        else:
            export.export(model, part / "model.onnx", facts)
            hf_folder.write_tokenizer(Tokenizer.from_facts(facts), part)
        (part / "README.md").write_text(card(facts, config.format), encoding="utf-8")
        for path in part.iterdir():  # transformers lets nobody else read its weights
            shutil.copymode(part / "README.md", path)
        if config.output.exists():
            shutil.rmtree(config.output)
        part.rename(config.output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"{path} -> {config.output}: {', '.join(sorted(each.name for each in config.output.iterdir()))}")
    if facts["architecture"].get("layers") and config.format == "hf":
        print("heads and neurons that were pruned are zeros there: it is as large and slow as before; ONNX is not")
    if licence_of(facts) == UNKNOWN:
        print("warning: the licence of its weights is unknown: find out before you pass it on")


def card(facts: Facts, kind: str) -> str:
    """The model card."""
    terms, training = licence_of(facts), facts.get("training") or {}
    rows = f"{training['rows']:,} 条" if "rows" in training else "条数未记录"
    figures = []
    for split, found in (facts.get("metrics") or {}).items():
        numbers = numbers_of(found or {}, facts.get("best_by"))
        if numbers:
            shown = "，".join(f"{name} {value:.4g}" for name, value in numbers.items())
            figures.append(f"| {SPLITS.get(split, split)} | {shown} |")
    return CARD.format(
        licence=f"license: {terms}" if terms in LICENCES else f"license: other\nlicense_name: {json.dumps(terms)}",
        stage=facts["stage"],
        project=facts.get("project", ""),
        count=len(facts["labels"]),
        labels="、".join(facts["labels"]),
        max_length=facts["max_length"],
        cut=CUTS[facts.get("truncation", "end")],
        rows=rows,
        data=facts.get("data_sha256") or "未记录",
        metrics="\n".join(figures),
        temperature=facts.get("temperature", 1.0),
        terms="未知，转交之前请先查明" if terms == UNKNOWN else terms,
        open=OPEN[kind].format(inputs="、".join(f"`{name}`" for name in facts.get("inputs", INPUTS))),
    )


if __name__ == "__main__":
    run(main)
