"""The data sets that there are, with what one must know to bring labels of their images."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.dependencies import Settings
from api.http.pages import Page, page
from jobs.files import layout
from jobs.teachers import labels
from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.data.packed_facts import PackedFacts
from kd.errors import DataError


class Dataset(BaseModel):
    object: Literal["dataset"]
    name: str
    images: Annotated[int, Field(description="all of them, which are numbered from 0 in this data set's order")]
    shape: Annotated[list[int], Field(description="channels, height, width")]
    classes: int
    class_names: Annotated[list[str] | None, Field(description="in their order; null where the publisher says them")]
    digest: Annotated[str | None, Field(description="of all that a model can see; null where the name says it all")]


router = APIRouter(prefix="/datasets", tags=["data sets"])


@router.get("")
def list_datasets(settings: Settings) -> Page[Dataset]:
    """Every data set that a spec may name: those with a name of their own, and those that were packed here."""
    folder = settings.data_dir / layout.DATASETS
    found = [dataset(settings, name) for name in DATASETS]
    for name in packed_facts.names(folder):
        try:
            found.append(dataset(settings, name, packed_facts.read(folder, name)))
        except DataError:  # damaged, or just being deleted: a job that names it is told
            continue
    return page(found)


def dataset(settings: Settings, name: str, facts: PackedFacts | None = None) -> Dataset:
    images = labels.images_of(settings.data_dir, name)
    return Dataset(
        object="dataset",
        name=name,
        images=images.images,
        shape=list(DATASETS[name].shape if facts is None else facts.shape),
        classes=images.classes,
        class_names=None if facts is None else list(facts.classes),
        digest=images.digest,
    )
