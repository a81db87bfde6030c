"""What can go wrong with which deployment, and what of each fault there is only one."""

from dataclasses import dataclass

from tests.chaos import bits, clocks, descriptors, disks, phases, processes, services
from tests.chaos.harm import Inflict
from tests.chaos.world import World
from tests.support.faults.clocks import compiler


@dataclass(frozen=True)
class Fault:
    inflict: Inflict
    needs: frozenset[str] = frozenset()
    """Of what there is only one, to hit it or to look into it: two faults do not have it at the same time."""

    @property
    def name(self) -> str:
        return self.inflict.__name__.replace("_", " ")


API, DATABASE, BROKER, DISK, CLOCK, GATE = (
    frozenset({name}) for name in ("api", "database", "broker", "disk", "clock", "gate")
)

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
    *(Fault(phases.stop_amid(phase), GATE) for phase in phases.PHASES),
    Fault(bits.flip_a_bit_of_a_resume_state, DATABASE),
    Fault(bits.flip_a_bit_of_a_download, DATABASE),
    Fault(bits.flip_a_bit_of_a_label_table),
    Fault(bits.flip_a_bit_of_a_lent_teacher, DATABASE),
    Fault(bits.flip_a_bit_of_a_data_set, DATABASE),
    Fault(descriptors.exhaust_the_files_of_the_api, API),
    Fault(descriptors.exhaust_the_files_of_a_worker),
    Fault(descriptors.exhaust_the_files_of_a_trainer),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    "embedded": (
        *EVERYWHERE,
        Fault(services.hold_the_write_lock, DATABASE),
        Fault(disks.fill_the_disk_of_the_database, DATABASE | DISK),
        Fault(clocks.step_the_clock_of_the_machine, CLOCK),
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
        Fault(clocks.step_the_clock_of_the_database, CLOCK),
        Fault(clocks.step_the_clock_of_the_api, CLOCK | API),
        Fault(clocks.step_the_clock_of_a_worker, CLOCK),
    ),
}


def possible(world: World, only: str = "") -> list[Fault]:
    """Those that this deployment, on this machine, can suffer, and that have one of the words `only` in their names."""
    spared_here = spared(world)
    wanted = only.split() or [""]
    return [
        fault
        for fault in FAULTS[world.deployment.kind]
        if fault.name not in spared_here and any(word in fault.name for word in wanted)
    ]


def spared(world: World) -> dict[str, str]:
    """The names of those that cannot be here, and why."""
    names = [fault.name for fault in FAULTS[world.deployment.kind]]
    why = {}
    if not world.data_disk.is_own:  # it would take more of this machine than is ours
        why |= dict.fromkeys([Fault(disks.fill_the_disk_of_the_database).name], "nothing of its own can be mounted")
    if not compiler():
        why |= dict.fromkeys([name for name in names if "clock" in name], "there is no C compiler (cc, gcc)")
    return {name: reason for name, reason in why.items() if name in names}
