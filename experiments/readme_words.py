"""The tables of the commands in the words of the READMEs: names and headers for people, in English and Chinese.

A key is a regular expression for a whole cell, or for a whole line that is no row; what its groups find is reworded
too. Chinese starts from the English words. What has no entry stays as it is.
"""

import re
from collections.abc import Mapping, Sequence

ENGLISH = {
    r"bert-base": "FP32",
    r"bert-base-int8": "INT8",
    r"bert-base-half-int8": "half of the computation pruned + INT8",
    r"bert-base-quarter-int8": "6 layers, half of each + INT8",
    r"bilstm": "BiLSTM student",
    r"bilstm-int8": "BiLSTM student, INT8",
    r"soft|bilstm_soft_distill(?:\.\w+)?": "student (soft)",
    r"soft_bert|bert_soft_distill(?:\.\w+)?": "BERT student",
    r"hard|bilstm_hard_distill(?:\.\w+)?": "student (hard)",
    r"int8|bertclassifer_int8\.\w+|quantized_model_bertclassifer_model\.\w+": "teacher, INT8",
    r"structured_pruned_model(?:\.\w+)?": "structured pruning",
    r"pruned_model(?:\.\w+)?": "unstructured pruning",
    r"bert_(\d+)_layers": "BERT student, {} layers",
    r"(\w+)_int8(?:\.\w+)?": "{} + INT8",
    r"majority": "always the most frequent class",
    r"linear": "linear model",
    r"none": "–",
    r"torch": "PyTorch",
    r"onnxruntime": "ONNX Runtime",
    r"onnxruntime \(plain\)": "ONNX Runtime, all defaults",
    r"openvino": "OpenVINO (optional)",
    r"openvino \(bf16\)": "OpenVINO (optional), computing in bf16",
    r"MB": "file, MB",
    r"p50 ms|one title, ms \(p50\)": "one title, ms",
    r"p50 ratio|titles/s ratio": "ratio",
    r"titles/s": "batches of 32, titles/s",
    r"teacher in every step": "teacher in every step, FP32",
    r"teacher once": "teacher once, FP32",
    r"teacher once, on \S+ in (\S+)": "teacher once, {}",
    r"float32": "FP32",
    r"bfloat16": "bf16",
    r"- (.+) against (.+): (\S+ points .+)": "- {} against {}: {}",
}
CHINESE = {
    r"model": "模型",
    r"runtime": "运行方式",
    r"accuracy": "准确率",
    r"parameters": "参数",
    r"file, MB": "文件，MB",
    r"one title, ms": "单条延迟，毫秒",
    r"batches of 32, titles/s": "每批 32，条/秒",
    r"ratio": "倍数",
    r"training titles": "训练标题",
    r"difference": "差值",
    r"test accuracy": "测试准确率",
    r"each seed": "各个种子",
    r"training, s": "训练，秒",
    r"training, (.+)": "训练时间，{}",
    r"macro-F1, (.+)": "macro-F1，{}",
    r"linear": "线性",
    r"difference, 95 % interval": "差值（95 % 置信区间）",
    r"recipe": "配方",
    r"time": "时间",
    r"commit": "提交",
    r"plain loop, titles/s": "朴素循环，条/秒",
    r"plain loop, peak memory": "朴素循环，内存峰值",
    r"(`train.py`), titles/s": "{}，条/秒",
    r"(`train.py`), peak memory": "{}，内存峰值",
    r"way": "做法",
    r"(\d+) epochs of (\S+) titles, minutes": "{} 轮、{} 条标题，分钟",
    r"teacher in every step, (.+)": "每一步都问教师，{}",
    r"teacher once, (.+)": "教师只判断一次，{}",
    r"- a teacher of the shape of BERT-base; extrapolated from one pass over (\S+) titles": (
        "- 教师是 BERT-base 的形状；由 {} 条标题的一遍推算"
    ),
    r"server": "服务",
    r"clients": "客户端",
    r"answers/s": "回答，次/秒",
    r"(p\d+), ms": "{}，毫秒",
    r"bert-mini-chinese, batches of (\d+)": "bert-mini-chinese，每批 {}",
    r"the shape of BERT-base, batches of (\d+)": "BERT-base 的形状，每批 {}",
    r"(.+) \+ INT8": "{} + INT8",
    r"half of the computation pruned": "剪去一半计算量",
    r"6 layers, half of each": "留 6 层、每层一半",
    r"BiLSTM student": "BiLSTM 学生",
    r"BiLSTM student, INT8": "BiLSTM 学生，INT8",
    r"always the most frequent class": "总猜最多的类",
    r"linear model": "线性模型",
    r"teacher": "教师",
    r"teacher, INT8": "教师 INT8",
    r"student \(soft\)": "软标签学生",
    r"student \(hard\)": "硬标签学生",
    r"BERT student": "BERT 学生",
    r"BERT student, (\d+) layers": "{} 层的 BERT 学生",
    r"pruned": "剪枝",
    r"structured pruning": "结构化剪枝",
    r"unstructured pruning": "非结构化剪枝",
    r"BiLSTM alone": "BiLSTM，没有教师",
    r"BiLSTM, hard": "BiLSTM，硬标签",
    r"BiLSTM, soft": "BiLSTM，软标签",
    r"BiLSTM, soft \+ transfer": "BiLSTM，软标签 + 更多标题",
    r"shallow BERT, soft": "层数少的 BERT，软标签",
    r"ONNX Runtime, all defaults": "ONNX Runtime，全部默认设置",
    r"OpenVINO \(optional\)": "OpenVINO（可选）",
    r"OpenVINO \(optional\), computing in bf16": "OpenVINO（可选），用 bf16 计算",
    r"none, the predictor in batches": "没有服务，预测器分批计算",
    r"(`api.py`) around a model that does nothing": "{}，模型什么都不算",
    r"minimal Flask server, FP32": "最简单的 Flask 服务，FP32",
    r"(\S+) s": "{} 秒",
    r"(\S+) \((\S+) to (\S+)\)": "{}（{} 到 {}）",
    r"([\d.]+ %) \((.+)\)": "{}（{}）",
    r"- (.+) against (.+): (\S+) points \(95 % interval (\S+) to (\S+), p (\S+)\)": (
        "- “{}”对“{}”：{} 个百分点（95 % 区间 {} 到 {}，p {}）"
    ),
    r"- (.+) reaches (.+) of the teacher's accuracy": "- “{}”达到教师准确率的 {}",
    r"\*\*(.+), (\S+) training rows, (dev|test)\*\* \(differences to (.+)\)": (
        "**{}，训练 {} 条，{}**（差值是与 {} 相比）"
    ),
    r"\*\*bert-base at random, INT8\*\*": "**BERT-base 的形状，随机权重，INT8**",
    r"- (.+) clients for (.+) s: (.+); without an answer: (.+); memory (.+) MB before, (.+) MB during": (
        "- {} 个客户端同时请求 {} 秒：{}；没有回答：{}；内存之前 {} MB，其间 {} MB"
    ),
    r"- (.+) minutes of load: (.+); without an answer: (.+); memory (.+) MB": (
        "- 持续 {} 分钟：{}；没有回答：{}；内存 {} MB"
    ),
    r"- ready (.+) s after kill -9 and a new start": "- kill -9 之后重新启动，{} 秒就绪",
    r"- the class that (`.+`) gives: (.+) of (.+) titles": "- 与 {} 类别相同：{} / {} 条",
}


def reword(text: str, vocabularies: Sequence[Mapping[str, str]]) -> str:
    """The tables, lists and captions of a Markdown text in the words of a page; its other lines are left out."""
    kept = []
    for line in re.sub(r"(?<=\d)%", " %", text).splitlines():
        if re.fullmatch("[|] ?-[- |]+", line):
            kept[-1] = re.sub(r"\| [a-z](?=[a-z])", lambda found: found[0].upper(), kept[-1])  # the headers
            kept.append("|---" * line.count("---") + "|")
        elif line.startswith("|"):
            cells = [_reword(cell, vocabularies) for cell in line.strip("| ").split(" | ")]
            kept.append(f"| {' | '.join(cells)} |")
        elif line[:2] in ("", "- ", "**"):
            kept.append(_reword(line, vocabularies))
    return "\n".join(kept).strip()


def _reword(words: str, vocabularies: Sequence[Mapping[str, str]]) -> str:
    for vocabulary in vocabularies:
        for pattern, template in vocabulary.items():
            if found := re.fullmatch(pattern, words):
                words = template.format(*(_reword(group, [vocabulary]) for group in found.groups()))
                break
    return words
