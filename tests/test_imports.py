"""What importing costs, who may import whom, and that public things say what they are."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eigenloop

ROOT = Path(__file__).resolve().parents[1] / "src" / "eigenloop"
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

GROUND = {"errors", "spectrum", "power", "statistics", "runs", "problems", "interrupts", "memory", "identity"}
MODEL = {"transformer", "blocks", "objectives", "config", "checkpoints", "training"}


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that a tree imports, at the top and inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add(node.module or "")
            if node.module == "eigenloop":  # from eigenloop import power: a module or a public name
                names |= {f"eigenloop.{alias.name}" for alias in node.names}
    return names


def own(tree: ast.AST) -> set[str]:
    """First part after `eigenloop.` of what a tree imports of the package."""
    return {name.split(".")[1] for name in imported(tree) if name.startswith("eigenloop.")}


def in_fresh_python(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    return json.loads(done.stdout)


HEAVY = ("jax", "torch", "transformers", "matplotlib", "pandas", "sklearn", "scipy")


def test_importing_the_package_loads_nothing_heavy() -> None:
    found = in_fresh_python(
        f"import eigenloop, sys, json; dir(eigenloop); print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    assert found == []


def test_training_loads_neither_torch_nor_matplotlib_and_changes_no_setting() -> None:
    found = in_fresh_python(
        "import json, sys, jax\n"
        "before = dict(jax.config.values)\n"
        "import eigenloop, eigenloop.cli, eigenloop.lab.training\n"
        "[getattr(eigenloop, name) for name in eigenloop.__all__ if name != 'LoopedPCA']\n"
        f"heavy = [m for m in {HEAVY[1:5]} if m in sys.modules]\n"
        "changed = [k for k, v in dict(jax.config.values).items() if k in before and before[k] != v]\n"
        "print(json.dumps([heavy, changed, bool(jax.config.jax_enable_x64)]))"
    )
    assert found == [[], [], False]


def test_the_lemmas_are_listed_without_jax() -> None:
    found = in_fresh_python(
        "import json, sys\n"
        "from eigenloop.theory.claims.lemmas import ledger\n"
        f"print(json.dumps([len(ledger.claims), [m for m in {HEAVY[:6]} if m in sys.modules]]))"
    )
    assert found[0] > 30
    assert found[1] == []


def test_the_lens_loads_no_torch_by_itself() -> None:
    found = in_fresh_python(
        "import json, sys\n"
        "from eigenloop import lens\n"
        "[getattr(lens, name) for name in lens.__all__]\n"
        "print(json.dumps([m for m in ('torch', 'transformers', 'jax', 'matplotlib', 'pandas') if m in sys.modules]))"
    )
    assert found == []


def test_steering_loads_no_torch_by_itself() -> None:
    found = in_fresh_python(
        "import json, sys\n"
        "import eigenloop.steer, eigenloop.steer.claims\n"
        "print(json.dumps([m for m in ('torch', 'transformers', 'jax', 'matplotlib', 'pandas') if m in sys.modules]))"
    )
    assert found == []


def test_steering_stands_on_the_lens_and_the_report() -> None:
    light = {"__version__", "claims", "drawing", "errors", "lens", "power", "report", "runs", "statistics", "steer"}
    for name, tree in TREES.items():
        if name.split(".")[0] == "steer":
            assert own(tree) <= light, name
            assert "jax" not in {module.split(".")[0] for module in imported(tree)}, name


def test_jax_and_torch_never_meet() -> None:
    for name, tree in TREES.items():
        roots = {module.split(".")[0] for module in imported(tree)}
        assert not {"jax", "torch"} <= roots, name


def test_the_ground_floor_stands_on_itself_and_the_model_on_the_ground() -> None:
    for name in sorted(GROUND):
        assert own(TREES[name]) <= GROUND, name
    for name in sorted(MODEL):
        assert own(TREES[name]) <= GROUND | MODEL, name
    assert not own(TREES["errors"])


def test_the_report_stands_on_no_wing() -> None:
    for name, tree in TREES.items():
        if name.startswith("report"):
            assert own(tree) <= {"report"} | GROUND, name


def test_the_lens_stands_on_the_ground_and_without_jax() -> None:
    light = {"claims", "errors", "power", "runs", "spectrum", "statistics"}
    front = {"drawing", "report"}
    pages = {"lens.curves", "lens.draw", "lens.page", "lens.sections", "lens.survey", "lens.text_sections"}
    for name, tree in TREES.items():
        if name.split(".")[0] == "lens":
            assert own(tree) <= {"lens"} | light | (front if name in pages else set()), name
            assert "jax" not in {module.split(".")[0] for module in imported(tree)}, name


def test_nothing_imports_the_command_line_and_commands_import_inside() -> None:
    light = {"cli", "errors"}
    for name, tree in TREES.items():
        if name.split(".")[0] != "cli":
            assert "cli" not in own(tree), name
            continue
        top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        assert own(top) <= light, name


@pytest.mark.parametrize("name", eigenloop.__all__)
def test_public_names_resolve_and_say_what_they_are(name: str) -> None:
    value = getattr(eigenloop, name)
    assert name in dir(eigenloop)
    if name != "__version__":
        doc = value.__doc__ or ""
        assert len(doc.split()) > 3, name
        assert not doc.startswith(f"{name}("), f"{name} has only the signature that dataclass writes"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = eigenloop.nothing


def public(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield f"{prefix}.{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}.{child.name}")


def is_claim(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether it is decorated by `ledger.claim(id, statement, ...)`: the statement is its docstring when it runs."""
    calls = [each.func for each in node.decorator_list if isinstance(each, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr == "claim" for call in calls)


def test_everything_public_has_a_docstring() -> None:
    assert len(FILES) > 20
    for name, tree in TREES.items():
        assert ast.get_docstring(tree), name
        for path, node in public(tree, name):
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            assert ast.get_docstring(node) or is_claim(node), path
