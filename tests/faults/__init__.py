"""Every fault of the list that the queue was designed against, injected into whole deployments of real processes.

`embedded` is SQLite and workers that poll, `production` is PostgreSQL, Valkey and Celery. A job that was disturbed
must end with the weights and metrics of one that was not, bit for bit.

| fault | seen on both deployments by |
|---|---|
| 1. the worker is killed in training | `test_workers`: `…_killed_…`; at random moments (slow) `…_random_moments` |
| 2. the trainer is killed; a poison job | `test_trainers`: `…_killed_where_it_hurts…`, `…_poison_…` |
| 3. the broker is wiped, down, or hangs | `test_broker` (`embedded` has none: each of its jobs starts by polling) |
| 4. the API is killed between commit and ring; the same `Idempotency-Key` again | `test_api` |
| 5. the database is killed (SQLite: locked), for less and for more than the lease | `test_database` |
| 6. a worker sleeps through its lease | `test_workers`: `…_slept_…` |
| 7. duplicate, late and senseless rings | `test_broker` (`embedded` has no bell) |
| 8. cancel: queued, running, then the worker dies, against the finish | `test_cancel`, `tests/jobs/queue/test_cancel` |
| 9. SIGTERM | `test_workers`: `…_sigterm_…` |
| 10. killed before the last word or in a checkpoint; a truncated one | `test_trainers`: `…_killed_where_it_hurts…` |
| 11. 8 processes claim 1,000 jobs | `test_claims` (slow); 200: `tests/jobs/queue/test_claiming` |
| 12. a random walk over the SQL, and its mutants | `tests/jobs/queue/test_state_machine`, `test_mutants` |
| 13. the disk is full at a checkpoint | `test_trainers`: `…_disk_…` |

What the list demands of a clock (a second, 200 ms) is measured and recorded here, to be seen with
`-o junit_family=legacy --junit-xml FILE`; `benchmarks/recovery.py` and `service.py` measure it where nothing else runs.
What is asserted here is true however slow the machine is: leases are an hour long, and lapse when a test says so.
"""
