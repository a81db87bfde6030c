"""Knowledge distillation from scratch: describe a run in `kd.spec`, start it with `kd.run.run`."""
