"""What can go wrong with which deployment, and what of each fault there is only one."""

from dataclasses import dataclass

from tests.chaos import disks, processes, services
from tests.chaos.harm import Inflict
from tests.chaos.world import World


@dataclass(frozen=True)
class Fault:
    inflict: Inflict
    needs: frozenset[str] = frozenset()
    """Of what there is only one, to hit it or to look into it: two faults do not have it at the same time."""

    @property
    def name(self) -> str:
        return self.inflict.__name__.replace("_", " ")


API, DATABASE, BROKER, DISK = (frozenset({name}) for name in ("api", "database", "broker", "disk"))

EVERYWHERE = (
    Fault(processes.kill_a_worker),
    Fault(processes.drain_a_worker),
    Fault(processes.stop_a_worker_beyond_its_lease),
    Fault(processes.kill_a_trainer),
    Fault(processes.kill_a_trainer_that_evaluates, DATABASE),
    Fault(processes.stop_a_trainer),
    Fault(processes.damage_the_newest_checkpoint, DATABASE),
    Fault(processes.kill_the_api, API),
    Fault(processes.stop_the_api, API | DATABASE),
    Fault(processes.kill_the_api_after_a_commit, API | DATABASE),
    Fault(processes.kill_the_api_and_a_worker_amid_writes, API | DATABASE),
    Fault(processes.cut_the_power, API | DATABASE | BROKER),
    Fault(disks.fill_the_disk, DISK | DATABASE),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    "embedded": (
        *EVERYWHERE,
        Fault(services.hold_the_write_lock, DATABASE),
        Fault(disks.fill_the_disk_of_the_database, DATABASE | DISK),
    ),
    "production": (
        *EVERYWHERE,
        Fault(services.kill_the_database, DATABASE),
        Fault(services.restart_the_database, DATABASE),
        Fault(services.hang_the_database, DATABASE),
        Fault(services.wipe_the_broker, BROKER),
        Fault(services.kill_the_broker, BROKER),
        Fault(services.hang_the_broker, BROKER),
        Fault(services.spoil_the_broker, BROKER),
        Fault(services.ring_ten_times, BROKER),
        Fault(services.ring_for_nobody, BROKER),
    ),
}


def possible(world: World) -> list[Fault]:
    """Those that this deployment, on this machine, can suffer."""
    return [fault for fault in FAULTS[world.deployment.kind] if fault.name not in spared(world)]


def spared(world: World) -> list[str]:
    """The names of those that would take more of this machine than is ours."""
    needs_a_disk = disks.fill_the_disk_of_the_database
    of_this_kind = any(fault.inflict is needs_a_disk for fault in FAULTS[world.deployment.kind])
    return [Fault(needs_a_disk).name] if of_this_kind and not world.data_disk.is_own else []
