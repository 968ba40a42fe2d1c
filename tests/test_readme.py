"""What the README says must run, runs; examples in docstrings too."""

from __future__ import annotations

import doctest
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block-{i}" for i in range(len(BLOCKS))])
def test_readme_example(block, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=env, capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    accuracy = re.search(r"test accuracy ([\d.]+)%", run.stdout)
    assert accuracy and float(accuracy[1]) > 90, run.stdout


def modules():
    for info in pkgutil.walk_packages(fastnn.__path__, "fastnn."):
        if not info.name.startswith(("fastnn.cli", "fastnn.reference")):
            yield info.name


@pytest.mark.parametrize("name", ["fastnn", *modules()])
def test_docstring_examples(name):
    results = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
                              | doctest.ELLIPSIS)
    assert results.failed == 0


def test_import_is_light():
    """Nothing heavy at import: the libraries of extras and of single features stay out."""
    code = ("import sys, fastnn; heavy = {'tqdm', 'safetensors', 'rich', 'typer', 'matplotlib', "
            "'PIL', 'sklearn', 'torch', 'scipy'} & set(sys.modules); assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", code], check=True)
