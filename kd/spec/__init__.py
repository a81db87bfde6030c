"""What a run is: a `mode` and its `config`, with every default visible and every number bounded.

Pydantic and the standard library only. The API validates with these classes, the database stores what
they print, and `kd.run.run` takes them as they are.
"""

from kd.spec.augmentation import Augmentation as Augmentation
from kd.spec.brought import Start as Start
from kd.spec.brought import TeacherOfJob as TeacherOfJob
from kd.spec.brought import TeacherUploaded as TeacherUploaded
from kd.spec.brought import start_of as start_of
from kd.spec.comparison import Control as Control
from kd.spec.config import Config as Config
from kd.spec.config import Student as Student
from kd.spec.modes import GuideConfig as GuideConfig
from kd.spec.modes import GuideSpec as GuideSpec
from kd.spec.modes import Spec as Spec
from kd.spec.modes import TrainConfig as TrainConfig
from kd.spec.modes import TrainSpec as TrainSpec
from kd.spec.modes import brought_in as brought_in
from kd.spec.modes import parse as parse
from kd.spec.objective import Objective as Objective
from kd.spec.part import Part as Part
from kd.spec.part import context as context
from kd.spec.recipe import Optimizer as Optimizer
from kd.spec.recipe import Schedule as Schedule
from kd.spec.recipe import least_images as least_images
from kd.spec.resources import Resources as Resources
from kd.spec.rounds import Cotrain as Cotrain
from kd.spec.rounds import Rounds as Rounds
from kd.spec.rounds import Route as Route
from kd.spec.teacher import Committee as Committee
from kd.spec.teacher import Teacher as Teacher
from kd.spec.teacher import TeacherAsBuilt as TeacherAsBuilt
from kd.spec.teacher import TeacherLabels as TeacherLabels
from kd.spec.teacher import teachers_in as teachers_in
from kd.spec.teacher import trained_in as trained_in
