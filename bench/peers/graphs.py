"""ONNX graphs, and the two runtimes that take them: inference only."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rows import Row
from . import Job, magnitude

OPSET = 20          # the first with Gelu


class Graph:
    """Collects nodes: g("Relu", x) adds one and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        out = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out


def model_of(row: Row) -> tuple[bytes, dict[str, np.ndarray]]:
    """A row as a serialized model, its weights inside, and its inputs by name."""
    from onnx import TensorProto, helper, numpy_helper

    arrays, weights = row.arrays()
    inputs = {f"x{i}": a for i, a in enumerate(arrays)}
    constants = {f"w{i}": w for i, w in enumerate(weights)}
    g = Graph()
    assert row.onnx
    out = row.onnx(g)(*inputs, *constants)
    graph = helper.make_graph(
        g.nodes, row.id,
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for name, a in inputs.items()],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, name) for name, w in constants.items()])
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model_gen_version(graph, opset_imports=opsets).SerializeToString(), inputs


def applies(row: Row) -> bool:
    return row.onnx is not None and row.mode == "forward"


class OnnxRuntime:
    """Inputs and outputs bound to memory beforehand, so that a call copies nothing."""

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.ort = onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.about = {
            "versions": {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__},
            "settings": "all graph optimizations, constant weights, bound inputs and outputs"}

    def build(self, row: Row) -> Job | None:
        if not applies(row):
            return None
        data, inputs = model_of(row)
        session = self.ort.InferenceSession(data, self.options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, self.ort.OrtValue.ortvalue_from_numpy(array))
        out = session.get_outputs()[0].name
        binding.bind_output(out)
        session.run_with_iobinding(binding)
        value = binding.get_outputs()[0]
        binding.bind_ortvalue_output(out, value)
        return Job(lambda: session.run_with_iobinding(binding), lambda _: magnitude(value.numpy()))


class OpenVino:
    """One stream for latency, float32 arithmetic, inputs and outputs in place."""

    def __init__(self, threads: int) -> None:
        import onnx
        import openvino

        self.ov = openvino
        self.core = openvino.Core()
        self.core.set_property("CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"})
        self.about = {
            "versions": {"openvino": openvino.__version__, "onnx": onnx.__version__},
            "settings": "latency hint, 1 stream, f32, constant weights, bound inputs and outputs"}

    def build(self, row: Row) -> Job | None:
        if not applies(row):
            return None
        data, inputs = model_of(row)
        request = self.core.compile_model(self.core.read_model(data), "CPU").create_infer_request()
        for name, array in inputs.items():
            request.set_tensor(name, self.ov.Tensor(array))
        out = request.get_output_tensor(0)
        return Job(lambda: request.infer(share_outputs=True), lambda _: magnitude(out.data))
