"""Names in a spec, checked against what there is: data sets, architectures, jobs."""

import re
from typing import Annotated

from pydantic import Field, ValidationInfo
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from kd import nearest
from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.models.catalog import ONNX, why_unknown
from kd.models.own.names import is_own
from kd.spec.part import was_accepted


def _known_dataset(name: str) -> str:
    if packed_facts.is_packed(name):
        return name  # whether it is there is for those to say who see the data folder
    if name.startswith(packed_facts.PREFIX):
        raise PydanticCustomError("dataset_name", "a packed data set is named {so}", {"so": packed_facts.NAMES_ARE})
    if name not in DATASETS:
        why = nearest.unknown("data set", name, DATASETS)
        if packed_facts.is_packed(packed := f"{packed_facts.PREFIX}{name}"):
            why += f"; a packed one of that name would be {packed}"
        raise PydanticCustomError("unknown_dataset", "{why}", {"why": why})
    return name


def _known_model(name: str, info: ValidationInfo) -> str:
    if was_accepted(info) and is_own(name):
        return name  # whether it is installed here is for those to say who build it
    if why := why_no_model(name):
        raise PydanticCustomError("unknown_model", "{why}", {"why": why})
    return name


def why_no_model(name: str) -> str | None:
    """The sentence for a name that no network is built by here; None for one that is."""
    if name == ONNX:
        return "onnx is no architecture to train: `kd teacher add` brings a file, teacher.upload names it"
    return why_unknown(name)


def _own_model(name: str) -> str:
    if not is_own(name):
        raise PydanticCustomError(
            "own_model", "is no architecture of your own (own/NAME), which alone may come with its weights: see arch"
        )
    return name


JOB_ID = r"^job_[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def _id_of_a_job(text: str) -> str:
    if not re.fullmatch(JOB_ID, text):
        raise PydanticCustomError("job_id", "is no id of a job; they look like job_01JZ3V6M8Q4T2B7XK9D5FHNCRW")
    return text


TABLE_ID = r"^[0-9a-f]{32}$"


def _id_of_a_table(text: str) -> str:
    if not re.fullmatch(TABLE_ID, text):
        raise PydanticCustomError("table_id", "is no id of a label table; they are 32 hexadecimal digits")
    return text


UPLOAD_ID = r"^tch_[0-9a-f]{28}$"
IDS_ARE = "is no id of a teacher that was brought; they are tch_ and 28 hexadecimal digits"


def _id_of_an_upload(text: str) -> str:
    if not re.fullmatch(UPLOAD_ID, text):
        raise PydanticCustomError("upload_id", IDS_ARE)
    return text


_DATASET = f"^({'|'.join(DATASETS)}|{packed_facts.NAME.pattern})$"

# The patterns are for readers of the schema; the validators say in words what is wrong.
DatasetName = Annotated[
    str, Field(max_length=200, json_schema_extra={"pattern": _DATASET}), AfterValidator(_known_dataset)
]
Arch = Annotated[str, Field(max_length=200), AfterValidator(_known_model)]
OwnArch = Annotated[Arch, AfterValidator(_own_model)]

TableId = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": TABLE_ID}), AfterValidator(_id_of_a_table)]
JobId = Annotated[str, Field(max_length=30, json_schema_extra={"pattern": JOB_ID}), AfterValidator(_id_of_a_job)]
UploadId = Annotated[
    str, Field(max_length=32, json_schema_extra={"pattern": UPLOAD_ID}), AfterValidator(_id_of_an_upload)
]
