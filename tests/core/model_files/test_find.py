"""Models by name: what a name stands for, what is preferred, and which files another checkpoint makes stale."""

import shutil
from pathlib import Path

import pytest

from config import MODELS
from core.console import UserError
from core.model_files import find
from core.model_files.find import find_model
from core.model_files.names import called, canonical, made_from


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
    """What is preferred where no training has said what answers: a student before the teacher, INT8 before FP32."""
    unstructured = make("models_save/pruned_model.pth")
    assert found("pruned") == found(None) == unstructured
    structured = make("models_save/structured_pruned_model.pth")
    assert found("pruned") == unstructured and found("structured_pruned") == found(None) == structured
    state_dict = make("save_models/quantized_model_bertclassifer_model.pt")
    assert found("teacher_int8") == found("int8") == found(None) == state_dict
    onnx = make("save_models/bertclassifer_int8.onnx")
    assert found("int8") == found(None) == onnx and found("int8", onnx=False) == state_dict
    teacher = make("save_models/test_bertclassifer_model.pt")
    assert found("teacher") == found(None) == teacher
    checkpoint = make("models_save/bilstm_soft_distill.pth")
    assert found("soft") == found(None) == checkpoint
    student = make("models_save/bilstm_soft_distill.onnx")
    assert found("soft") == found(None) == student and found("soft", onnx=False) == checkpoint
    int8 = make("models_save/bilstm_soft_distill_int8.onnx")
    assert found("soft") == student and found("soft_int8") == found(None) == int8
    with pytest.raises(UserError, match="soft_int8 is INT8, which can only predict"):
        found("soft_int8", onnx=False)
    with pytest.raises(UserError, match="run `python hard_label_distillation.py`"):
        found("hard")
    shallow = make("models_save/bert_soft_distill.pth")
    assert found("soft_bert") == found(None) == shallow
    assert not capsys.readouterr().err

    monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: None)
    assert found(None) == int8 and found("soft") == student
    student.unlink()
    assert found("soft") == int8 and "soft_int8 (" in capsys.readouterr().err
    int8.unlink()
    assert found(None) == found("int8") == found("teacher") == onnx
    with pytest.raises(UserError, match="no ONNX file of soft here"):
        found("soft")
    onnx.unlink()
    with pytest.raises(UserError, match="no ONNX file of any model here"):
        found(None)


def test_the_structured_one_stands_in_for_the_pruned(capsys: pytest.CaptureFixture[str]):
    structured = make("models_save/structured_pruned_model.pth")
    assert found("pruned") == structured == found("pruned", onnx=False)
    assert "there is no pruned here: structured_pruned (" in capsys.readouterr().err


def test_a_name_is_the_openvino_file_only_where_there_is_no_other():
    Path("save_models").mkdir()
    for name in ("bertclassifer_int8.xml", "quantized_model_bertclassifer_model.pt", "bertclassifer_int8.onnx"):
        Path("save_models", name).touch()
        assert found("teacher_int8") == Path("save_models", name)
    with pytest.raises(UserError, match="can only predict: give the checkpoint"):
        found("save_models/bertclassifer_int8.xml", onnx=False)


def test_the_model_of_the_environment_and_none_at_all(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    for name in (None, "teacher"):
        with pytest.raises(UserError, match="run `python train.py`"):
            found(name)
    with pytest.raises(UserError, match="no model nothing.pt: give the path .*; here: none yet, run `python train.py`"):
        found("nothing.pt")
    with pytest.raises(UserError, match="save_models/ner/bert_ner.pt does not exist: check the path[^`]*$"):
        found("save_models/ner/bert_ner.pt")  # of another task than the named ones
    path = MODELS["teacher"].path
    path.parent.mkdir()
    shutil.copy(teacher, path)
    assert found(None) == found("teacher") == path
    monkeypatch.setenv("NEWS_MODEL", str(teacher))
    assert found(None) == teacher
    monkeypatch.setenv("NEWS_MODEL", "")
    assert found(None) == path
    with pytest.raises(UserError, match="there is no model nothing.pt: give the path .*; here: teacher"):
        found("nothing.pt")


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
    named = {path.name for path in MODELS["teacher_int8"].paths} | {"bertclassifer_int8.bin"}
    assert named < {path.name for path in made}


def test_students_in_another_folder_go_stale_too():
    made = {path.as_posix() for path in made_from(Path("mine/bilstm_soft_distill.pth"), MODELS)}
    assert made == {f"mine/bilstm_soft_distill{end}" for end in (".onnx", "_int8.onnx", "_int8.xml", "_int8.bin")}


def test_what_a_model_is_called():
    for name, artefact in MODELS.items():
        for path in artefact.paths:
            assert called(path, MODELS) == canonical(path.name, MODELS) == canonical(name, MODELS) == name
    assert canonical("int8", MODELS) == "teacher_int8" and canonical("nobody", MODELS) is None
    assert called(Path("elsewhere/bilstm_soft_distill.onnx"), MODELS) == "bilstm_soft_distill"
