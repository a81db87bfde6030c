"""Knowledge distillation from scratch: describe a run in `kd.spec`, start it with `kd.run.run`."""

import os

# Before torch is loaded: OpenMP's threads spin while they wait for each other. Beside another busy process that
# slowed a small model from 8,600 to 124 images/s on two cores; asleep they wait as well.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
