"""The stub file lists what the compiled core and the ops really give a Tensor."""

from __future__ import annotations

import ast
from pathlib import Path

import fastnn

STUB = Path(fastnn.__file__).with_name("_core.pyi")


def test_stub_names_every_tensor_attribute():
    tree = ast.parse(STUB.read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor").body
    named = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    named |= {n.target.id for n in body if isinstance(n, ast.AnnAssign)}
    real = {n for n in dir(fastnn.Tensor) if not n.startswith("_")}
    assert {n for n in named if not n.startswith("_")} == real
