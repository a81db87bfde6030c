"""Models of any architecture, as ONNX: they answer, and learn nothing. They run in a process of their own."""
