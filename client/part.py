"""What every answer is made of: checked as it comes, and no laxer than JSON is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
