"""Chaos: users submit tiny jobs to a whole deployment while its parts are killed, stopped, wiped and filled up.

    python -m tests.chaos --deployment embedded --minutes 10 --seed 1

`world` is the deployment and its service manager, `users` who ask for jobs, `audience` who listen; `faults` is what
goes wrong, with `processes`, `services` and `disks`; `storm` is when, `verdict` what must be true at the end.
"""
