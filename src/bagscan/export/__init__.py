"""Export of a model's networks as ONNX graphs for machines without torch, and its verification."""
