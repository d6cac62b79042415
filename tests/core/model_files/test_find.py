"""Models by name: what a name stands for, what is preferred, and which files another checkpoint makes stale."""

import os
import shutil
from pathlib import Path

import pytest

from config import MODELS
from core.console import UserError
from core.model_files import find
from core.model_files.find import find_model, made_from, model_name


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder without models, and without an environment that names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEWS_MODEL", raising=False)


def make(name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def found(name: str | None, onnx: bool = True) -> Path:
    return find_model(name, MODELS, onnx)


def test_names_of_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    unstructured = make("models_save/pruned_model.pth")
    assert found("pruned") == found(None) == unstructured
    structured = make("models_save/structured_pruned_model.pth")
    assert found("pruned") == found(None) == structured
    state_dict = make("save_models/quantized_model_bertclassifer_model.pt")
    assert found("int8") == found(None) == state_dict
    onnx = make("save_models/bertclassifer_int8.onnx")
    assert found("int8") == found(None) == onnx and found("int8", onnx=False) == state_dict
    teacher = make("save_models/test_bertclassifer_model.pt")
    assert found("teacher") == found(None) == teacher
    student = make("models_save/bilstm_soft_distill.pth")
    assert found("soft") == found(None) == student
    for name in ("models_save/bilstm_soft_distill.onnx", "models_save/bilstm_soft_distill_int8.onnx"):
        light_student = make(name)
        assert found("soft") == found(None) == light_student and found("soft", onnx=False) == student
    with pytest.raises(UserError, match="run `python hard_label_distillation.py`"):
        found("hard")

    assert not capsys.readouterr().err
    os.utime(light_student, (0, 0))
    assert found(None) == light_student
    assert "bilstm_soft_distill_int8.onnx is older than" in capsys.readouterr().err
    assert found("soft") == light_student and not capsys.readouterr().err
    shallow = make("models_save/bert_soft_distill.pth")
    assert found("soft_bert") == found(None) == shallow

    monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: None)
    assert found(None) == light_student
    for light_student in Path("models_save").glob("*.onnx"):
        light_student.unlink()
    assert found(None) == found("int8") == onnx
    for name in ("teacher", "soft"):
        with pytest.raises(UserError, match=f"no ONNX file of {name} here"):
            found(name)
    onnx.unlink()
    with pytest.raises(UserError, match="no ONNX file of any model here"):
        found(None)


def test_a_name_is_the_openvino_file_only_where_there_is_no_other():
    Path("save_models").mkdir()
    for name in ("bertclassifer_int8.xml", "quantized_model_bertclassifer_model.pt", "bertclassifer_int8.onnx"):
        Path("save_models", name).touch()
        assert found("int8") == Path("save_models", name)
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        found("save_models/bertclassifer_int8.xml", onnx=False)


def test_the_model_of_the_environment_and_none_at_all(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    for name in (None, "teacher"):
        with pytest.raises(UserError, match="run `python train.py`"):
            found(name)
    with pytest.raises(UserError, match="there is no model nothing.pt: give the path .* or one of soft_bert, soft,"):
        found("nothing.pt")
    path = MODELS["teacher"].path
    path.parent.mkdir()
    shutil.copy(teacher, path)
    assert found(None) == found("teacher") == path
    monkeypatch.setenv("NEWS_MODEL", str(teacher))
    assert found(None) == teacher


def test_what_is_made_of_a_checkpoint():
    folder = Path("anywhere")
    assert {path.name for path in made_from(folder / "m.pth", MODELS)} == {
        "m.onnx",
        "m_int8.onnx",
        "m_int8.xml",
        "m_int8.bin",
    }
    teacher = MODELS["teacher"].path.name
    made = made_from(folder / teacher, MODELS)
    assert {path.parent for path in made} == {folder} and folder / teacher not in made
    named = {path.name for path in MODELS["int8"].paths} | {"bertclassifer_int8.bin"}
    assert named < {path.name for path in made}


def test_what_a_file_is_called():
    assert model_name(MODELS["soft"].paths[0], MODELS) == "soft"
    assert model_name(Path("elsewhere") / MODELS["soft"].paths[0].name, MODELS) == "bilstm_soft_distill_int8"
