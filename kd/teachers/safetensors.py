"""Take a teacher that was brought as weights: find each tensor's place in its network, and show that images as it wants
them."""

from collections.abc import Iterator
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kd.errors import TeacherUnfit, first_line
from kd.evaluation.cost import parameters
from kd.models.build import build_bare
from kd.models.catalog import sees_colour
from kd.models.preprocess.network import Preprocessed
from kd.models.preprocess.said import Preprocess, Sight
from kd.models.safetensors.names import Match, NamesDiffer, match
from kd.models.weights import State, copy_of, frame_of
from kd.teachers import uploads
from kd.teachers.fitness import order_of
from kd.teachers.uploads import Uploaded
from kd.training.run import Run

WHAT_NETWORKS_RAISE = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)
"""Of sizes that they were not made for."""


class WeightsUnfit(Exception):
    """Why weights are none of this network, as a clause."""


@dataclass(frozen=True)
class Loaded:
    """Weights in their network, and what is to be told of how they came there."""

    state: State
    tensors: int
    prefix: str
    widened: tuple[str, ...]


def take(run: Run, found: Uploaded) -> tuple[State, str]:
    """The weights of the teacher behind `run.teacher_file`, and in a clause what they are. Raises `TeacherUnfit`."""
    assert run.teacher_file is not None, "run() asks for it"
    arch = run.teacher_arch
    try:
        tensors = _read(uploads.content(run.teacher_file, found))
        network, sight = fit(run, found, tensors)
        loaded = load(network, tensors, arch)
        network.load_state_dict(loaded.state)
        model = network if sight is None else Preprocessed(network, sight)
        size = run.shape[1:] if sight is None else sight.size
        _ask(model, run, size)
    except WeightsUnfit as error:
        raise TeacherUnfit(str(error), run.teacher_role) from error
    except NamesDiffer as error:
        raise TeacherUnfit(_differing(error, run), run.teacher_role) from error
    except uploads.NoSuchTeacher as error:
        raise TeacherUnfit(error.why, run.teacher_role) from error
    described = f"the network {arch} of {parameters(model):,} parameters that sees images of {_size(size)} pixels"
    return copy_of(model), f"{described} ({_told(loaded)})"


def fit(run: Run, found: Uploaded, tensors: State) -> tuple[nn.Module, Sight | None]:
    """The network that these tensors are of, as born, and how it sees this run's images; None: as the data set's own
    networks do. Raises `NamesDiffer`, `WeightsUnfit` or `TeacherUnfit`."""
    dataset, wanted, order = run.dataset, found.said.preprocess, None
    if found.said.classes is not None and found.said.classes != dataset.classes:
        order = order_of(found.said.classes, run)
    if found.facts and wanted == Preprocess(mean=dataset.mean, std=dataset.std, size=run.shape[1:]):
        wanted = None  # it has learnt from these very images, and is what its job would lend
    failure: NamesDiffer | None = None
    for channels in _channels(run, found, wanted):
        sight = Sight(
            preprocess=wanted,
            channels=channels,
            size=(wanted.size if wanted else None) or run.shape[1:],
            given_mean=dataset.mean,
            given_std=dataset.std,
            bare=found.facts is None,
            order=order,
        )
        sees_as_ours_do = wanted is None and order is None and channels == run.shape[0]
        network = _born(run, tensors, sight, bare=sight.bare and not sees_as_ours_do)
        try:
            _match(network, tensors, run.teacher_arch)
        except NamesDiffer as error:
            failure = failure or error
            continue
        if wanted and (why := wanted.why_not_of(channels)):
            raise WeightsUnfit(why)
        return network, None if sees_as_ours_do else sight
    assert failure is not None, "there is a number of channels to try"
    raise failure


def _born(run: Run, tensors: State, sight: Sight, *, bare: bool) -> nn.Module:
    arch, classes, shape = run.teacher_arch, len(run.dataset.classes), (sight.channels, *sight.size)
    try:
        return build_bare(arch, classes, shape) if bare else frame_of(tensors, arch, classes, shape)
    except WHAT_NETWORKS_RAISE as error:
        raise WeightsUnfit(f"{arch} takes no images of {_size(sight.size)} pixels: {first_line(error)}") from error


def _channels(run: Run, found: Uploaded, wanted: Preprocess | None) -> Iterator[int]:
    """Of how many channels its images may be, the likelier first: gray ones can be shown as three equal ones. Raises
    `WeightsUnfit`."""
    given = run.shape[0]
    known = found.facts.shape[0] if found.facts else 3 if sees_colour(run.teacher_arch) else None
    if known is not None:
        if given not in (1, known):
            raise WeightsUnfit(f"it sees images of {known} channels, those of {run.dataset.name} have {given}")
        yield known
        return
    if wanted is None or given == 3 or len(wanted.mean) != 3:
        yield given
    if given == 1:
        yield 3


def load(network: nn.Module, tensors: State, arch: str) -> Loaded:
    """What `network` takes of them, all of them in its own precision. Raises `NamesDiffer` or `WeightsUnfit`."""
    found = _match(network, tensors, arch)
    state, widened = copy_of(network), set[torch.dtype]()
    for ours, theirs in found.theirs.items():
        tensor, wanted = tensors[theirs], state[ours].dtype
        if tensor.is_floating_point() != wanted.is_floating_point:
            raise WeightsUnfit(f"its {theirs} holds {_kind(tensor.dtype)}, and {arch} has {_kind(wanted)} there")
        state[ours] = tensor.to(wanted)
        if wanted.is_floating_point:
            if not torch.isfinite(state[ours]).all():
                raise WeightsUnfit(f"its weights {theirs!r} hold numbers that are not finite")
            widened |= {tensor.dtype} - {wanted}
    return Loaded(state, len(tensors), found.prefix, tuple(sorted(map(_kind, widened))))


def _match(network: nn.Module, tensors: State, arch: str) -> Match:
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return match({name: tuple(tensor.shape) for name, tensor in tensors.items()}, ours, arch)


def _read(content: bytes) -> State:
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
        raise WeightsUnfit(f"its file cannot be read: {first_line(error)}") from error


def _ask(model: nn.Module, run: Run, size: tuple[int, int]) -> None:
    """Raise `WeightsUnfit` unless it answers, with a number for each class."""
    images_BCHW = torch.zeros(2, *run.shape)
    try:
        with torch.no_grad():
            answers_BC: Tensor = model.eval()(images_BCHW)
    except WHAT_NETWORKS_RAISE as error:
        raise WeightsUnfit(
            f"{run.teacher_arch} takes no images of {_size(size)} pixels: {first_line(error)}"
        ) from error
    if answers_BC.shape != (2, len(run.dataset.classes)):
        raise WeightsUnfit(f"of two images it says numbers in the shape {tuple(answers_BC.shape)}")


def _differing(error: NamesDiffer, run: Run) -> str:
    """Where the two differ; if it is only in how many classes there are, that."""
    classes = len(run.dataset.classes)
    heads = {theirs[:1] for theirs, ours in error.reshaped.values() if ours == (classes, *theirs[1:])}
    if len(heads) == 1 and len(error.reshaped) <= 2 and not error.missing and not error.strange:
        ((known,),) = heads
        name = next(iter(error.reshaped))
        return f"it knows {known} classes (by its {name}), {run.dataset.name} has {classes}"
    return f"the file {error.why}"


def _told(loaded: Loaded) -> str:
    told = [f"loaded {loaded.tensors} of {loaded.tensors} tensors"]
    if loaded.prefix:
        told.append(f"without {loaded.prefix!r} before their names")
    if loaded.widened:
        told.append(f"{' and '.join(loaded.widened)} as float32")
    return ", ".join(told)


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _size(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))
