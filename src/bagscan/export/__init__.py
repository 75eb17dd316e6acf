"""Export: the networks of a model as ONNX graphs, for machines without torch, and the check that all runtimes agree."""
