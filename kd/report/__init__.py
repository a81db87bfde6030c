"""Was distillation worth it: the numbers, and the answer in words."""
