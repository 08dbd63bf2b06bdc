"""Write a quantized model for other programs, and check it there before it is called done.

Read `request` (what is asked and given), `formats` (which there are), `skeleton` (the float model
with placeholders), `graph` (nodes and constants), `transforming` (of inputs), `lowering` (layers in
the skeleton), `qdq` (quantizers as ONNX Runtime has them), `check` (answers and latencies beside
Bitlens' own); `onnx_runtime`, `qonnx_executor`, `aimet_encodings` and `torchao_tensors` do all of
it for a format.
"""
