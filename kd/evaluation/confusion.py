"""Which classes a model takes for which, and how good it is where classes are not equally common."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Shapes: N = images, C = classes, P = pairs of classes that occur.


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix over `classes` classes, kept as the pairs that occur: with thousands of classes nearly all of
    its places are empty. `predicted` and `labels` are int64 [N]."""

    predicted: Tensor
    labels: Tensor
    classes: int

    @classmethod
    def of(cls, logits_NC: Tensor, labels_N: Tensor) -> "Confusion":
        return cls(logits_NC.argmax(dim=1), labels_N, logits_NC.shape[1])

    @cached_property
    def recall_C(self) -> Tensor:
        """The share of each class's images that are recognised, float64 [C]; NaN for a class without images."""
        return self._hits_C / self._count(self.labels)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the recalls: each class counts the same, however many images it has (Brodersen et al., 2010)."""
        return self.recall_C.nanmean().item()

    @property
    def macro_f1(self) -> float:
        """The mean over the classes of F1, the harmonic mean of precision and recall; classes that neither occur nor
        are predicted do not count."""
        occurs_C = self._count(self.labels) + self._count(self.predicted)
        return (2 * self._hits_C / occurs_C).nanmean().item()

    def pairs(self) -> list[tuple[int, int, int]]:
        """(class, predicted class, images) for each pair that occurs, in order."""
        pair_P, count_P = torch.unique(self.labels * self.classes + self.predicted, return_counts=True)
        label_P, predicted_P = pair_P // self.classes, pair_P % self.classes
        return list(zip(label_P.tolist(), predicted_P.tolist(), count_P.tolist(), strict=True))

    @cached_property
    def _hits_C(self) -> Tensor:
        return self._count(self.labels[self.labels == self.predicted])

    def _count(self, class_N: Tensor) -> Tensor:
        return torch.bincount(class_N, minlength=self.classes).double()
