"""An op is five edits: row, kernel, public function, reference, case. None may be missing."""

import ast
import re
from pathlib import Path

import pytest
from cases import all_cases

from fastnn import _core, reference

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("op", list(_core.OPS))
def test_op_is_complete(op):
    forward, backward = reference.table([op])[op]
    assert callable(forward)
    assert (backward is not None) == bool(_core.op_info(op)["diff"])
    assert any(c.op == op for c in all_cases()), f"no case for {op}"


# Each layer may import only what stands before it.
LAYERS = ["errors", "reference", "_core", "autograd", "serialization", "ops", "nn", "optim",
          "models", "data", "vision", "training", "io", "interop", "cli"]
PEERS = {"torch", "jax", "tensorflow", "onnxruntime", "openvino"}


def imports(path: Path):
    """(absolute module, line) of every import in a file, relative ones resolved."""
    package = ["fastnn", *path.relative_to(ROOT / "fastnn").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            yield module, node.lineno
            yield from ((f"{module}.{a.name}", node.lineno) for a in node.names)


def layer(module: str):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "fastnn" and parts[1] in LAYERS else None


@pytest.mark.parametrize(
    "path", sorted((ROOT / "fastnn").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_down(path):
    own = layer("fastnn." + path.relative_to(ROOT / "fastnn").parts[0].removesuffix(".py"))
    for module, line in imports(path):
        assert module.split(".")[0] not in PEERS, f"{path}:{line} imports a peer"
        if own == "reference":
            assert module.split(".")[0] in ("numpy", "__future__", "collections", "importlib",
                                            "math",
                                            "threading", "typing", "fastnn"), f"{path}:{line}"
        other = layer(module)
        if own and other:
            assert LAYERS.index(other) <= LAYERS.index(own), f"{path}:{line}: {own} imports {other}"


def test_kernels_name_openmp_in_one_place():
    for path in [*(ROOT / "csrc").glob("op_*.h"), ROOT / "csrc" / "gemm.h"]:
        assert not re.search(r"\bomp_|_Pragma|#pragma omp", path.read_text()), path
