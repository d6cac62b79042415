"""Tables in Markdown, and their words in English and Chinese: headers, sentences around figures, names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from config import MODELS
from core.model_files.names import canonical

Words = dict[str, str]

ENGLISH: Words = {
    "table rows": "Training titles | Linear model | BERT | Difference, 95 % interval | p | Macro-F1, linear "
    "| Macro-F1, BERT | Training, linear | Training, BERT",
    "table adapted": "Training titles | Linear model | BERT | BERT, adapted first | Each seed "
    "| Difference to BERT, 95 % interval | p | Macro-F1",
    "table students": "Model | Test accuracy | Each seed | Macro-F1 | Parameters | File, MB | One title, ms "
    "| Training, s",
    "table ablation": "Recipe | Macro-F1 | Each seed | Difference | Accuracy | Difference | Time | Commit",
    "table benchmark": "Model | Runtime | Accuracy | Macro-F1 | File, MB | One title, ms | Ratio "
    "| Batches of 32, titles/s | Ratio",
    "table speed": "Model | Plain loop, titles/s | `train.py`, titles/s | Ratio | Plain loop, peak memory "
    "| `train.py`, peak memory",
    "table serving": "Server | Clients | Answers/s | p50, ms | p95, ms | p99, ms",
    "table teacher_once": "Way | {} epochs of 100,000 titles, minutes | Ratio",
    "from one pass": "- a teacher of the shape of BERT-base; extrapolated from one pass over {:,} titles",
    "title of ablation": "**{}, {:,} training rows, {}** (differences to {})",
    "pair of students": "- {of} against {against}: {difference} points (95 % interval {low} to {high}, p {p})",
    "ratio to teacher": "- {} reaches {} of the teacher's accuracy",
    "a crowd": "- {} clients for {:.0f} s: {}; memory {:.0f} MB before, {:.0f} MB during",
    "a soak": "- {:.0f} minutes of load: {}; memory {:+.1f} MB",
    "all answers": "{}; without an answer: {:,}",
    "a restart": "- ready {:.1f} s after kill -9 and a new start",
    "equal answers": "- the class that `predict_fun.py` gives: {:,} of {:,} titles",
    "table calibration": "Model | Accuracy | Calibration error, before | after | by chance alone | Temperature "
    "| Answered at 0.8 or more | of these right",
    "table label_errors": "Model | Titles | Swapped | Searches | Listed | Found in as many rows as were swapped "
    "| Found in the whole list",
    "table least_sure": "Trained on | Test accuracy | Each seed | Difference, 95 % interval | Macro-F1",
    "table ner": "Model | Training sentences | Test F1 | Each seed | Entities that train lacks | Against "
    "| Difference, 95 % interval | p | Training, s",
    "table qa": "Model | Training questions | Test EM | F1 | Each seed | Against | F1 difference, 95 % interval | p "
    "| Training, s",
    "against the linear model": "- {} against the linear model on test, pooled F1: {}, p {:.4f}",
    "table aspects": "Model | Dev pooled F1 | Each seed | Dev F1 of aspects | Against | Difference, 95 % interval | p "
    "| Test pooled F1 | F1 of aspects | merged | Training, s",
    "table bulk": "Way | Titles | Seconds | Titles/s | Ratio | Seconds to the first part | Memory of the driver, MB",
    "bulk predict_fun": "`predict_fun.py --file`, one core",
    "bulk 1": "`bulk_predict.py --workers 1`",
    "bulk 2": "`bulk_predict.py --workers 2`",
    "a killed run": "- killed {kills} times at random moments (kill -9, the last time a worker) and resumed: of "
    "{rows:,} rows {lost} are lost, {twice} are there twice; {other_classes} of {compared:,} have another class than "
    "`predict_fun.py` gives",
    "two nodes": "- two nodes of a cluster on this machine shared {:,} rows: {}",
    "table tuning": "Seed | Trials (stopped early) | Dev macro-F1, default | best | Test accuracy, default | best "
    "| Difference, 95 % interval | `best.json` holds",
    "advised best": "the best",
    "advised default": "the default",
    "all searches": "- the best trials of all searches together: {} points on test against the default",
    "all advised": "- what `best.json` holds, all searches together: {} points",
    "a pruner": "- `--pruner {pruner}`: {complete} trials to their end, {pruned} stopped early; {total:.0f} s, "
    "best on dev {dev}",
    "kills": "- killed {} times (kill -9 at random moments): of {} trials that had ended, {} are lost",
    "choice none": "{:,} titles",
    "choice random": "{:,} titles, and {:,} random ones",
    "choice least sure": "{:,} titles, and the {:,} least sure ones",
    "pair of choices": "- the least sure against random ones: {difference} points "
    "(95 % interval {low} to {high}, p {p})",
    "an interval": "{difference} ({low} to {high})",
    "a share": "{} ({}–{})",
    "so many seconds": "{} s",
}
CHINESE: Words = {
    "table rows": "训练标题 | 线性模型 | BERT | 差值（95 % 置信区间） | p | Macro-F1，线性 | Macro-F1，BERT "
    "| 训练时间，线性 | 训练时间，BERT",
    "table adapted": "训练标题 | 线性模型 | BERT | BERT，先读标题 | 各个种子 "
    "| 与 BERT 之差（95 % 置信区间） | p | Macro-F1",
    "table students": "模型 | 测试准确率 | 各个种子 | Macro-F1 | 参数 | 文件，MB | 单条延迟，毫秒 | 训练，秒",
    "table ablation": "配方 | Macro-F1 | 各个种子 | 差值 | 准确率 | 差值 | 时间 | 提交",
    "table benchmark": "模型 | 运行方式 | 准确率 | Macro-F1 | 文件，MB | 单条延迟，毫秒 | 倍数 | 每批 32，条/秒 | 倍数",
    "table speed": "模型 | 朴素循环，条/秒 | `train.py`，条/秒 | 倍数 | 朴素循环，内存峰值 | `train.py`，内存峰值",
    "table serving": "服务 | 客户端 | 回答，次/秒 | p50，毫秒 | p95，毫秒 | p99，毫秒",
    "table teacher_once": "做法 | {} 轮、100,000 条标题，分钟 | 倍数",
    "from one pass": "- 教师是 BERT-base 的形状；由 {:,} 条标题的一遍推算",
    "title of ablation": "**{}，训练 {:,} 条，{}**（差值是与 {} 相比）",
    "pair of students": "- “{of}”对“{against}”：{difference} 个百分点（95 % 区间 {low} 到 {high}，p {p}）",
    "ratio to teacher": "- “{}”达到教师准确率的 {}",
    "a crowd": "- {} 个客户端同时请求 {:.0f} 秒：{}；内存之前 {:.0f} MB，其间 {:.0f} MB",
    "a soak": "- 持续 {:.0f} 分钟：{}；内存 {:+.1f} MB",
    "all answers": "{}；没有回答：{:,}",
    "a restart": "- kill -9 之后重新启动，{:.1f} 秒就绪",
    "equal answers": "- 与 `predict_fun.py` 类别相同：{:,} / {:,} 条",
    "table calibration": "模型 | 准确率 | 校准误差，之前 | 之后 | 单凭偶然 | 温度 | 置信度 ≥ 0.8 的占 | 其中答对",
    "table label_errors": "模型 | 标题 | 改错 | 次数 | 列出 | 前若干行（与改错的一样多）里找到 | 整个清单里找到",
    "table least_sure": "训练数据 | 测试准确率 | 各个种子 | 差值（95 % 置信区间） | Macro-F1",
    "against the linear model": "- {}与线性模型相比，测试集合并 F1：{}，p {:.4f}",
    "table aspects": "模型 | 开发集合并 F1 | 各个种子 | 开发集各方面 F1 | 对比 | 差值（95 % 置信区间） | p "
    "| 测试集合并 F1 | 各方面 F1 | 并中性 | 训练，秒",
    "table ner": "模型 | 训练句子 | 测试 F1 | 各个种子 | 训练里没有的实体 | 对比 | 差值（95 % 置信区间） | p | 秒",
    "table qa": "模型 | 训练问题 | 测试 EM | F1 | 各个种子 | 对比 | F1 差值（95 % 置信区间） | p | 秒",
    "table bulk": "方式 | 标题 | 秒 | 标题/秒 | 倍数 | 到第一份，秒 | 驱动进程的内存，MB",
    "bulk predict_fun": "`predict_fun.py --file`，一个核",
    "bulk 1": "`bulk_predict.py --workers 1`",
    "bulk 2": "`bulk_predict.py --workers 2`",
    "a killed run": "- 在随机时刻杀 {kills} 次（kill -9，最后一次杀的是工作进程）再接着做，{rows:,} 行里"
    "丢失 {lost} 行，重复 {twice} 行；{compared:,} 行里有 {other_classes} 行的类别与 `predict_fun.py` 不同",
    "two nodes": "- 同一台机器上的两个节点分担 {:,} 行：{}",
    "table tuning": "种子 | 试验（提前停止） | 验证 Macro-F1，默认 | 最好 | 测试准确率，默认 | 最好 "
    "| 差值（95 % 置信区间） | `best.json` 里是",
    "advised best": "最好的一次",
    "advised default": "默认设置",
    "all searches": "- 所有搜索里最好的试验合计，测试集上与默认相差 {} 个百分点",
    "all advised": "- 所有搜索写进 `best.json` 的设置合计：{} 个百分点",
    "a pruner": "- `--pruner {pruner}`：跑完 {complete} 次，提前停止 {pruned} 次；{total:.0f} 秒，验证集最好 {dev}",
    "kills": "- 在随机时刻杀 {} 次（kill -9）：{} 次已结束的试验，丢失 {} 次",
    "choice none": "{:,} 条",
    "choice random": "{:,} 条，加随机的 {:,} 条",
    "choice least sure": "{:,} 条，加最没把握的 {:,} 条",
    "pair of choices": "- 最没把握的对随机的：{difference} 个百分点（95 % 区间 {low} 到 {high}，p {p}）",
    "an interval": "{difference}（{low} 到 {high}）",
    "a share": "{}（{}–{}）",
    "so many seconds": "{} 秒",
}
# What stands in reports, in English and in Chinese.
NAMES = {"bert-base": ("FP32", "FP32"), "bert-base-int8": ("INT8", "INT8"), "none": ("–", "–")}
NAMES |= {"bert-base-half-int8": ("half of the computation pruned + INT8", "剪去一半计算量 + INT8")}
NAMES |= {"bert-base-quarter-int8": ("6 layers, half of each + INT8", "留 6 层、每层一半 + INT8")}
NAMES |= {"bilstm": ("BiLSTM student", "BiLSTM 学生"), "bilstm-int8": ("BiLSTM student, INT8", "BiLSTM 学生，INT8")}
NAMES |= {"soft": ("student (soft)", "软标签学生"), "hard": ("student (hard)", "硬标签学生")}
NAMES |= {"soft_bert": ("BERT student", "BERT 学生"), "hard_bert": ("BERT student (hard)", "硬标签 BERT 学生")}
NAMES |= {"bert_2_layers": ("BERT student, 2 layers", "2 层的 BERT 学生")}
NAMES |= {"bert_4_layers": ("BERT student, 4 layers", "4 层的 BERT 学生")}
NAMES |= {"structured_pruned": ("structured pruning", "结构化剪枝")}
NAMES |= {"pruned": ("unstructured pruning", "非结构化剪枝"), "teacher": ("teacher", "教师")}
NAMES |= {"crf": ("linear-chain CRF", "线性链 CRF"), "dictionary": ("dictionary of train", "训练集的词典")}
NAMES |= {"words": ("BERT, reads words", "BERT，读词"), "characters": ("BERT, reads characters", "BERT，读字")}
NAMES |= {"again": ("the same, taught by those of all seeds", "同样的，由各个种子的一起教")}
NAMES |= {"both": ("BERT, reads words and characters", "BERT，读词也读字")}
NAMES |= {"random, alone": ("student from random, alone", "学生，随机开始，没有教师")}
NAMES |= {"random, taught": ("student from random, taught", "学生，随机开始，有教师")}
NAMES |= {"first, alone": ("student from the first layers, alone", "学生，取前几层，没有教师")}
NAMES |= {"first, taught": ("student from the first layers, taught", "学生，取前几层，有教师")}
NAMES |= {"spread, alone": ("student from every other layer, alone", "学生，隔层取，没有教师")}
NAMES |= {"spread, taught": ("student from every other layer, taught", "学生，隔层取，有教师")}
NAMES |= {"bert": ("BERT", "BERT")}
NAMES |= {
    "clause": ("the nearest clause", "最像的分句"),
    "clause, rules": ("the nearest clause, cut by rules", "最像的分句，按规则截取"),
}
NAMES |= {
    "reader": ("small BERT", "小 BERT"),
    "reader, cloze first": ("small BERT, made questions first", "小 BERT，先学编出来的问题"),
    "reader, cloze alone": ("small BERT, made questions alone", "小 BERT，只学编出来的问题"),
}
NAMES |= {"attention": ("BERT, each aspect attends by itself", "BERT，每个方面各自注意")}
NAMES |= {
    "mean": ("BERT, plain mean", "BERT，平均"),
    "original": ("the original design: 128 tokens", "原来的设计：128 个 token"),
}
NAMES |= {"head_tail": ("head and tail of long reviews", "长点评只留头尾")}
NAMES |= {
    "class_weights": ("weights of states", "按状态加权"),
    "focal": ("focal loss", "焦点损失"),
    "r_drop": ("R-Drop", "R-Drop"),
}
NAMES |= {"oversample": ("oversampling", "过采样"), "undersample": ("undersampling", "欠采样"), "eda": ("EDA", "EDA")}
NAMES |= {"alone": ("student of two layers, alone", "两层的学生，没有教师")}
NAMES |= {"taught": ("student of two layers, taught", "两层的学生，有教师")}
NAMES |= {
    "matched": ("taught, states matched", "有教师，对齐隐状态"),
    "ensemble": ("taught by all seeds", "几个种子一起教"),
}
NAMES |= {"taught_linear": ("taught by the linear model too", "线性模型也当老师")}
NAMES |= {"unlabeled": ("taught, with unlabelled reviews", "有教师，加没有标签的点评")}
NAMES |= {"majority": ("always the most frequent class", "总猜最多的类"), "linear": ("linear model", "线性模型")}
NAMES |= {"torch": ("PyTorch", "PyTorch"), "onnxruntime": ("ONNX Runtime", "ONNX Runtime")}
NAMES |= {"onnxruntime (plain)": ("ONNX Runtime, all defaults", "ONNX Runtime，全部默认设置")}
NAMES |= {"openvino": ("OpenVINO (optional)", "OpenVINO（可选）")}
NAMES |= {"openvino (bf16)": ("OpenVINO (optional), computing in bf16", "OpenVINO（可选），用 bf16 计算")}
NAMES |= {"BiLSTM alone": ("BiLSTM alone", "BiLSTM，没有教师"), "BiLSTM, hard": ("BiLSTM, hard", "BiLSTM，硬标签")}
NAMES |= {"BiLSTM, soft + transfer": ("BiLSTM, soft + transfer", "BiLSTM，软标签 + 更多标题")}
NAMES |= {"BiLSTM, soft": ("BiLSTM, soft", "BiLSTM，软标签")}
NAMES |= {"shallow BERT, soft": ("shallow BERT, soft", "层数少的 BERT，软标签")}
NAMES |= {"batches small": ("bert-mini-chinese, batches of {}", "bert-mini-chinese，每批 {}")}
NAMES |= {"batches bert-base": ("the shape of BERT-base, batches of {}", "BERT-base 的形状，每批 {}")}
NAMES |= {"part predictor": ("none, the predictor in batches", "没有服务，预测器分批计算")}
NAMES |= {"part nothing": ("`api.py` around a model that does nothing", "`api.py`，模型什么都不算")}
NAMES |= {"part flask": ("minimal Flask server, FP32", "最简单的 Flask 服务，FP32"), "part server": ("`api.py`",) * 2}
NAMES |= {"teacher in every step": ("teacher in every step, FP32", "每一步都问教师，FP32")}
NAMES |= {"teacher once": ("teacher once, FP32", "教师只判断一次，FP32")}
NAMES |= {"teacher once, on cpu in bfloat16": ("teacher once, bf16", "教师只判断一次，bf16")}
NAMES |= {"bert-base at random, INT8": ("bert-base at random, INT8", "BERT-base 的形状，随机权重，INT8")}
# What pictures say, in Chinese; in English it stands where they are drawn.
PICTURES = {
    "accuracy": "准确率",
    "model, 95 % interval": "模型，95 % 置信区间",
    "nothing is faster and as accurate": "没有既更快又同样准的",
    "advised for this machine": "这台机器上建议用的",
    "one title on its fastest runtime, ms (p50, log scale)": "单条延迟，毫秒（p50，各用最快的运行方式；对数刻度）",
    "BERT": "BERT",
    "BERT, adapted first": "BERT，先读标题",
    "linear model": "线性模型",
    "training titles": "训练标题，条",
    "test accuracy, %": "测试集准确率，%",
    "dev": "验证集",
    "test": "测试集",
    "test accuracy, % (small dots: each seed)": "测试集准确率，%（小点：每个种子）",
    "one title on the CPU, ms": "CPU 上单条延迟，毫秒",
    "{}, {:,} training rows, {}: against {}": "{}，训练 {:,} 条，{}：与 {} 相比",
    "entity F1 on test, % (small dots: each seed; dotted: the CRF)": "测试集实体 F1，%（小点：每个种子；虚线：CRF）",
    "training questions": "训练问题，个",
    "F1 on test, % (small dots: each seed)": "测试集 F1，%（小点：每个种子）",
    "difference in macro-F1, points (95 % interval)": "Macro-F1 的差别，百分点（95 % 置信区间）",
}
ENGLISH |= {text: text for text in PICTURES}
CHINESE |= PICTURES
ENGLISH |= {name: english for name, (english, _) in NAMES.items()}
CHINESE |= {name: chinese for name, (_, chinese) in NAMES.items()}


def markdown(headers: str, lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its headers given as `one | other`."""
    rule = "|---" * (headers.count(" | ") + 1) + "|"
    return "\n".join([f"| {headers} |", rule, *(f"| {' | '.join(cells)} |" for cells in lines)])


def percent(share: float, digits: int = 2) -> str:
    """`0.9255` -> `92.55 %`."""
    return f"{100 * share:.{digits}f} %"


def each_seed(shares: Sequence[float]) -> str:
    """The scores of several trainings in one cell."""
    return " · ".join(map(percent, shares))


def model_name(row: dict[str, Any], words: Words) -> str:
    """The name of a row's model on a page, `soft_int8`, with what that is."""
    name = canonical(Path(row.get("file") or row["name"]).name, MODELS) or row["name"]
    if name in MODELS:
        return f"`{name}` {model_words(name, words)}"
    plain = name.removesuffix("_int8")
    return words.get(name, name) if name in words or plain == name else f"{words.get(plain, plain)} + INT8"


def model_words(name: str, words: Words) -> str:
    """What a model that has a name is, for people."""
    parent = MODELS[name].parent
    return f"{words[parent]} + INT8" if parent else words[name]
