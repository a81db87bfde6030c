"""The names of what a run leaves in its output folder."""

CHECKPOINTS = "checkpoints"
"""The folder of resume states and of the students beside them."""

RESUME = "resume.pt"
STUDENT = "student.safetensors"
TEACHER = "teacher.safetensors"
REPORT = "report.json"
PAGE = "report.html"
CARD = "model-card.md"
VERIFIED = "verify.json"
ONNX = "student.onnx"
ONNX_ARCHIVE = "student-onnx.zip"


def weights_of(role: str) -> str:
    """The file of a model's weights: `teacher.safetensors`, of a committee's second member `teacher.2.safetensors`."""
    return f"{role}.safetensors"
