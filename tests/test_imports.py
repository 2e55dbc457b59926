"""What importing costs, who may import whom, and that public things say what they are."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eigenloop

ROOT = Path(__file__).resolve().parents[1] / "src" / "eigenloop"
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

ROWS = (
    {"system"},
    {"numerics", "report"},
    {"claims"},
    {"loops", "lab"},
    {"theory", "lens", "predict"},
    {"figures", "steer"},
    {"cli"},
)
"""Who may import whom: only what stands in an earlier row. docs/architecture.md draws it."""

INSIDE = {
    "lens": ({"model"}, {"weights"}, {"text", "cases"}, {"loops"}, {"page"}, {"survey"}),
    "theory": (
        {"integrals"},
        {"population", "bounds"},
        {"slopes"},
        {"dynamics", "stability", "regression", "summary", "step_sizes"},
        {"landscape", "endpoints", "optimisers", "filters"},
        {"claims"},
    ),
    "predict": (
        {"sheets"},
        {"files", "headers", "doubts", "targets"},
        {"arrays"},
        {"dialects"},
        {"tables", "prediction"},
        {"recipes"},
        {"estimator"},
    ),
}
"""The same inside the large packages."""

LIBRARIES = {
    "jax": {"lab", "theory", "predict", "figures", "loops"},
    "torch": {"lens", "steer", "loops"},
    "transformers": {"lens", "steer"},
    "sklearn": {"predict", "figures"},
    "pandas": {"predict", "lens"},
    "pyarrow": {"predict"},
    "matplotlib": {"report", "figures", "lens", "claims", "steer", "loops"},
    "typer": {"cli"},
}
"""Which packages may import a heavy library, anywhere in them."""


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that a tree imports, at the top and inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add(node.module or "")
            # modules, or public names
            if node.module == "eigenloop" or (node.module or "").startswith("eigenloop."):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(tree: ast.AST) -> set[str]:
    """Packages of eigenloop that a tree imports; a name of `eigenloop` itself counts as its
    home.
    """
    parts = [name.split(".") for name in imported(tree) if name.startswith("eigenloop.")]
    return {part[1] for part in parts} - {"__version__"}


def arrows(depth: int, package: str = "") -> set[tuple[str, str]]:
    """(importer, imported) between the parts of the package, or of one of its packages; its
    `__init__` aside.
    """
    begin = ["eigenloop", *filter(None, [package])]
    found = set()
    for name, tree in TREES.items():
        parts = ["eigenloop", *name.split(".")]
        if parts[:depth] != begin or len(parts) <= depth or parts[depth] == "__init__":
            continue
        for target in (full.split(".") for full in imported(tree)):
            if target[:depth] == begin and len(target) > depth and target[depth] != parts[depth]:
                found.add((parts[depth], target[depth]))
    return found


def in_fresh_python(code: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


HEAVY = ("jax", "torch", "transformers", "matplotlib", "pandas", "sklearn", "scipy")


def test_importing_the_package_loads_nothing_heavy() -> None:
    found = in_fresh_python(
        f"import eigenloop, sys, json; dir(eigenloop); print(json.dumps([m for m in {HEAVY} if m in"
        " sys.modules]))"
    )
    assert found == []


def test_training_loads_neither_torch_nor_matplotlib_and_changes_no_setting() -> None:
    found = in_fresh_python(
        "import json, sys, jax\nbefore = dict(jax.config.values)\nimport eigenloop, eigenloop.cli,"
        " eigenloop.lab.training\n[getattr(eigenloop, name) for name in eigenloop.__all__ if name"
        f" != 'LoopedPCA']\nheavy = [m for m in {HEAVY[1:5]} if m in sys.modules]\nchanged = [k for"
        " k, v in dict(jax.config.values).items() if k in before and before[k] !="
        " v]\nprint(json.dumps([heavy, changed, bool(jax.config.jax_enable_x64)]))"
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
        "import json, sys\nfrom eigenloop import lens\n[getattr(lens, name) for name in"
        " lens.__all__]\nprint(json.dumps([m for m in ('torch', 'transformers', 'jax',"
        " 'matplotlib', 'pandas') if m in sys.modules]))"
    )
    assert found == []


def test_the_core_of_loops_loads_neither_jax_nor_torch() -> None:
    found = in_fresh_python(
        "import json, sys, numpy\nfrom eigenloop import loops\n[getattr(loops, name) for name in"
        " loops.__all__]\nloops.diagnose(loops.LoopedMap.numpy(lambda x: 0.5 * x,"
        " numpy.ones(2)))\nprint(json.dumps([m for m in ('jax', 'torch', 'transformers',"
        " 'matplotlib', 'pandas') if m in sys.modules]))"
    )
    assert found == []


def test_steering_loads_no_torch_by_itself() -> None:
    found = in_fresh_python(
        "import json, sys\nimport eigenloop.steer, eigenloop.steer.claims\nprint(json.dumps([m for"
        " m in ('torch', 'transformers', 'jax', 'matplotlib', 'pandas') if m in sys.modules]))"
    )
    assert found == []


def test_jax_and_torch_never_meet() -> None:
    for name, tree in TREES.items():
        roots = {module.split(".")[0] for module in imported(tree)}
        assert not {"jax", "torch"} <= roots, name


def test_the_table_has_every_package_and_no_module_is_loose() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set().union(*ROWS)
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]
    for package, rows in INSIDE.items():
        here = {path.stem for path in (ROOT / package).glob("*.py")} | {
            path.parent.name for path in (ROOT / package).glob("*/__init__.py")
        }
        assert here - {"__init__"} == set().union(*rows), package


@pytest.mark.parametrize(
    ("depth", "package", "rows"),
    [(1, "", ROWS), *((2, name, rows) for name, rows in INSIDE.items())],
)
def test_imports_point_downwards(depth: int, package: str, rows: tuple[set[str], ...]) -> None:
    floor = {name: number for number, row in enumerate(rows) for name in row}
    between = {(one, other) for one, other in arrows(depth, package) if other in floor}
    assert between
    assert not [(one, other) for one, other in sorted(between) if floor[other] >= floor[one]]
    assert len(between) <= (50 if depth == 1 else 35)


def test_the_root_names_only_what_it_exports() -> None:
    """A module never imports a public name through the root: that would hide an arrow from the
    table.
    """
    for name, tree in TREES.items():
        if name != "__init__":
            assert own(tree) <= set().union(*ROWS), name


def test_heavy_libraries_stay_in_their_packages() -> None:
    for name, tree in TREES.items():
        roots = {module.split(".")[0] for module in imported(tree)}
        for library in roots & LIBRARIES.keys():
            assert name.split(".")[0] in LIBRARIES[library], (name, library)


def test_the_lens_measures_without_drawing() -> None:
    for name, tree in TREES.items():
        if name.startswith("lens.") and name.split(".")[1] not in ("page", "survey"):
            assert "report" not in own(tree), name


def test_nothing_imports_the_command_line_and_commands_import_inside() -> None:
    light = {"cli", "system"}
    for name, tree in TREES.items():
        if name.split(".")[0] != "cli":
            assert "cli" not in own(tree), name
            continue
        top = ast.Module(
            [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], []
        )
        assert own(top) <= light, name


PUBLIC = ("", *(f".{name}" for row in ROWS for name in sorted(row)), ".lens.cases", ".lens.survey")
"""What has an `__all__`: every package, and the one module that is a door by itself."""


@pytest.mark.parametrize("home", PUBLIC)
def test_public_names_resolve_and_say_what_they_are(home: str) -> None:
    module = importlib.import_module(f"eigenloop{home}")
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        assert name in dir(module)
        if inspect.isclass(value) or inspect.isroutine(value):
            doc = value.__doc__ or ""
            assert len(doc.split()) > 3, name
            assert not doc.startswith(f"{name}("), (
                f"{name} has only the signature that dataclass writes"
            )


def test_the_documentation_imports_public_names_only() -> None:
    """Imports in examples, and dotted names in the text."""
    pages = [ROOT.parents[1] / "README.md", *sorted((ROOT.parents[1] / "docs").rglob("*.md"))]
    checked = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        examples = [ast.parse(code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
        froms = [
            node for tree in examples for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        ]
        named = [(node.module or "", alias.name) for node in froms for alias in node.names]
        named += [
            tuple(dotted.rsplit(".", 1))
            for dotted in re.findall(r"`(eigenloop(?:\.\w+)+)[`(]", text)
        ]
        for module, name in named:
            if module.split(".")[0] == "eigenloop" and f"{module}.{name}" not in {
                f"eigenloop{home}" for home in PUBLIC
            }:
                assert module.removeprefix("eigenloop") in PUBLIC, (page.name, module, name)
                assert name in importlib.import_module(module).__all__, (page.name, module, name)
                checked += 1
    assert checked > 10


def test_the_architecture_page_draws_this_table() -> None:
    text = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        name: int(row) for row, name in re.findall(r"^\| (\d) \| `(\w+)` \|", text, re.MULTILINE)
    }
    assert drawn == {name: number for number, row in enumerate(ROWS, start=1) for name in row}
    for package, rows in INSIDE.items():
        (line,) = re.findall(rf"^    {package} +(.*<.*)$", text, re.MULTILINE)
        assert [set(part.strip().split(", ")) for part in line.split("<")] == list(rows)


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
    """Whether it is decorated by `ledger.claim(id, statement, ...)`: the statement is its
    docstring when it runs.
    """
    calls = [each.func for each in node.decorator_list if isinstance(each, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr == "claim" for call in calls)


def test_everything_public_has_a_docstring() -> None:
    assert len(FILES) > 20
    for name, tree in TREES.items():
        assert ast.get_docstring(tree), name
        for path, node in public(tree, name):
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            assert ast.get_docstring(node) or is_claim(node), path
