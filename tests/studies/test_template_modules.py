"""The modules of the template study import and plan, so that a renamed function is seen in the quick tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from companion.profiles import Profile, validate

TEMPLATE = Path(__file__).with_name("template")


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the template under the name that it has once it is added."""
    spec = importlib.util.spec_from_file_location(f"companion.studies.coin.{name}", TEMPLATE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_template_plans_and_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study_module, results = (load(name, monkeypatch) for name in ("study", "results"))
    content = yaml.safe_load((TEMPLATE / "profile.yaml").read_text(encoding="utf-8"))
    profile = validate(Profile, {**content, "name": "mini"}, "mini")
    settings = validate(study_module.CoinSettings, content["studies"]["coin"], "coin")
    study = study_module.CoinStudy(profile, settings, tmp_path / "coin")
    study.freeze()
    for spec in study.specs():
        study.store.write(spec, *study.work(spec))
    table = results.heads_table(study)
    assert len(table) == 8
    assert [claim.verdict for claim in results.claims(study, table)] == ["supported"]
    assert results.heads_figure(table, study.size).get_axes()
