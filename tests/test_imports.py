"""Imports run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import sb3_trpo

ROOT = Path(sb3_trpo.__file__).parent
ALLOWED_IN_CORE = {"torch", "sb3_trpo.optim", *sys.stdlib_module_names}
REQUIRED = {"torch", "numpy", "gymnasium", "stable_baselines3", "sb3_trpo"}
VARIANTS = {"maskable.py", "recurrent.py"}  # need an extra, sb3_contrib
PARTS_OF_VARIANTS = {"recurrent_rollouts.py"}  # need it, too


def imported(path):
    """Modules imported at run time (not under TYPE_CHECKING)."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module


def test_core_imports_torch_and_the_standard_library_alone():
    for path in (ROOT / "optim").glob("*.py"):
        for module in imported(path):
            inside = module == "sb3_trpo.optim" or module.startswith("sb3_trpo.optim.")
            assert inside or module.split(".")[0] in ALLOWED_IN_CORE, (path, module)


def test_nothing_below_trpo_imports_it():
    for path in ROOT.rglob("*.py"):
        if path.name not in {"trpo.py", "__init__.py", *VARIANTS}:
            assert "sb3_trpo.trpo" not in set(imported(path)), path


def test_package_imports_only_what_it_requires():
    for path in ROOT.rglob("*.py"):
        allowed = REQUIRED | set(sys.stdlib_module_names)
        if path.name in {*VARIANTS, *PARTS_OF_VARIANTS}:
            allowed |= {"sb3_contrib"}
        if path.name == "envs.py":
            allowed |= {"envpool"}
        if path.parent.name == "zoo":
            allowed |= {"rl_zoo3", "optuna"}
        if path.parent.name == "report":
            allowed |= {"matplotlib", "tensorboard", "jinja2", "markupsafe", "yaml"}
        for module in imported(path):
            assert module.split(".")[0] in allowed, (path, module)


def test_nothing_imports_the_variants_before_they_are_asked_for():
    names = {f"sb3_trpo.{Path(name).stem}" for name in VARIANTS}
    parts = {f"sb3_trpo.{Path(name).stem}" for name in PARTS_OF_VARIANTS}
    for path in ROOT.rglob("*.py"):
        assert not names & set(imported(path)), path
        if path.name not in {*VARIANTS, *PARTS_OF_VARIANTS}:
            assert not parts & set(imported(path)), path


def test_optional_packages_are_not_needed_to_import():
    optional = ["sb3_contrib", "envpool", "mujoco", "tensorboard", "rich", "tqdm"]
    optional += ["rl_zoo3", "optuna", "ray", "matplotlib", "pandas"]
    code = f"import sys; sys.modules.update(dict.fromkeys({optional})); from sb3_trpo import TRPO"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_loads_nothing_that_stable_baselines3_has_not_loaded():
    code = """
import sys
import stable_baselines3
before = set(sys.modules)
import sb3_trpo
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "sb3_trpo.trpo" in loaded
    assert {name.split(".")[0] for name in loaded} == {"sb3_trpo"}
    asked_for = ("envs", "zoo", "maskable", "recurrent", "recurrent_rollouts")
    assert not {f"sb3_trpo.{name}" for name in asked_for} & set(loaded)
