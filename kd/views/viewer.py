"""A split's images, shown in any of their views."""

import torch
from torch import Tensor

from kd.views import boxes, mixup, randaugment
from kd.views.mixup import Mix
from kd.views.pixels import Pixels, middle
from kd.views.plan import ViewPlan, columns, parameters
from kd.views.resize import resize

# Shapes: M = padded images, B = batch, C = channels, H, W = height and width; P = parameters of a view.


class Viewer:
    """A split's images, shown in any of their views."""

    def __init__(self, pixels: Pixels, plan: ViewPlan, mean: tuple[float, ...], std: tuple[float, ...]):
        """The plan pads its crops at most as much as the pixels are padded."""
        assert plan.crop_padding <= pixels.padding
        self.plan = plan
        self.device = pixels.device
        self.pixels = pixels
        channels, height, width = pixels.shape
        height, width = plan.input_size or (height, width)
        self.shape = channels, height, width
        self._mean, self._std = mean, std
        # As large as an image: operations on long rows are much faster than on three channels at a time.
        self._mean_HWC = torch.tensor(mean, device=self.device).repeat(height, width, 1)
        self._std_HWC = torch.tensor(std, device=self.device).repeat(height, width, 1)
        self._row_H = torch.arange(height, device=self.device)
        self._place = columns(plan).index("flip")  # so many parameters say where a view is cut out
        self.seen = boxes.middle(pixels.shape[1:], self.shape[1:])  # the box that evaluation sees
        self._resizes_it = self.seen[2:] != self.shape[1:]

    def with_plan(self, plan: ViewPlan) -> "Viewer":
        """The same images in other views."""
        return Viewer(self.pixels, plan, self._mean, self._std)

    def __len__(self) -> int:
        return len(self.pixels)

    def parameters(self, image_B: Tensor, view_B: Tensor) -> Tensor:
        """The views `view_B` of the images `image_B` as whole numbers, int64 [B, P] on the device; see `columns`."""
        image_B, view_B = image_B.to(self.device), view_B.to(self.device)
        return parameters(self.plan, image_B, view_B, len(self), self.pixels.shape[1:])

    def show(self, image_B: Tensor, view_B: Tensor) -> Tensor:
        """The views `view_B` of the images `image_B`: float32 [B, C, H, W], normalised, channels last."""
        # By way of the numbers, and by no other: a view that is shown twice then has the same pixels twice.
        return self.replay(image_B, self.parameters(image_B, view_B))

    def replay(self, image_B: Tensor, parameters_BP: Tensor) -> Tensor:
        """The views that these numbers describe, perhaps written down long ago; as `show` shows them.

        There may be several views of each image, one after the other: twice as many numbers as images, say.
        """
        parameters_BP = parameters_BP.to(self.device, torch.int64)
        # Bytes until the last moment: a quarter of the memory to move, and whole numbers are rounded alike everywhere.
        if not self.plan.mixes:
            return self._normalise(self._change(self._view(image_B, parameters_BP), parameters_BP))
        own_BP, drawn_B7, partner_BP = self._parts(parameters_BP)
        # Cut apart, because pixels are read ahead for the images announced; changed together, in half as many calls.
        cuts = [self._view(image_B, own_BP), self._view(drawn_B7[:, -1], partner_BP)]
        own_BHWC, partner_BHWC = self._change(torch.cat(cuts), torch.cat([own_BP, partner_BP])).chunk(2)
        return self._normalise(mixup.mix_images(own_BHWC, partner_BHWC, drawn_B7))

    def mix(self, parameters_BP: Tensor) -> Mix | None:
        """What views with these parameters mean for the hard labels; nothing where the plan does not mix."""
        if not self.plan.mixes:
            return None
        _, drawn_B7, _ = self._parts(parameters_BP.to(self.device, torch.int64))
        return Mix(partner_B=drawn_B7[:, -1], share_B=drawn_B7[:, 1] / mixup.WHOLE)

    def plain(self, image_B: Tensor) -> Tensor:
        """The images themselves, or where models see another size their middle: what evaluation sees."""
        return self._normalise(self.bytes_of(image_B))

    def bytes_of(self, image_B: Tensor) -> Tensor:
        """The same before they are normalised: uint8 [B, H, W, C]."""
        # In the middle of the padding: evaluation takes the same way as training, and no copy is kept for it.
        top, left, *size = self.seen
        place = (top + self.plan.crop_padding, left + self.plan.crop_padding, *size)
        place_B4 = boxes.the_same(place, image_B.to(self.device))
        return self._cut(image_B, place_B4, resized=self._resizes_it)

    def _parts(self, parameters_BP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a plan that mixes: a view's own parameters, how it is mixed, and its partner's parameters."""
        own = len(columns(self.plan.unmixed()))
        drawn = own + len(mixup.COLUMNS)
        return parameters_BP[:, :own], parameters_BP[:, own:drawn], parameters_BP[:, drawn:]

    def _view(self, image_B: Tensor, parameters_BP: Tensor) -> Tensor:
        """What views with these parameters are cut out of: uint8 [B, H, W, C]."""
        resized = self.plan.resized_crop is not None or self._resizes_it
        return self._cut(image_B, parameters_BP[:, : self._place], resized=resized)

    def _cut(self, image_B: Tensor, place_BP: Tensor, *, resized: bool) -> Tensor:
        """The crops whose top and left, within the plan's padding, come first, or the boxes that are to be resized:
        uint8 [B, H, W, C]."""
        channels, height, width = self.shape
        padded_MHWC, index_B = self.pixels.padded(image_B)
        if len(image_B) < len(place_BP):  # each is read once, whatever is shown of it
            index_B = index_B.repeat_interleave(len(place_BP) // len(image_B))
        if resized:
            return resize(middle(padded_MHWC, self.pixels.padding), index_B, place_BP, (height, width))
        count, padded_height, padded_width, _ = padded_MHWC.shape
        spare = self.pixels.padding - self.plan.crop_padding
        first_B = (index_B * padded_height + place_BP[:, 0] + spare) * padded_width + place_BP[:, 1] + spare
        # Each run of pixels as long as a row, wherever it begins, is a row of this view: so whole rows are copied.
        runs = count * padded_height * padded_width - width + 1
        run_RX = padded_MHWC.as_strided((runs, width * channels), (channels, 1))
        wanted_BH = first_B[:, None] + padded_width * self._row_H
        return run_RX.index_select(0, wanted_BH.flatten()).view(len(index_B), height, width, channels)

    def _change(self, pixels_BHWC: Tensor, parameters_BP: Tensor) -> Tensor:
        """Crops, mirrored and under strong operations as the parameters say; uint8 [B, H, W, C]."""
        flip_B, *operations = parameters_BP[:, self._place :].unbind(dim=1)
        # All are mirrored and each takes the one it wants: to sort them out first the host would wait for the device.
        if self.plan.flip:
            flips_B111 = flip_B[:, None, None, None] == 1
            pixels_BHWC = torch.where(flips_B111, pixels_BHWC.flip(2), pixels_BHWC)
        # Strong operations work plane by plane, everything else pixel by pixel.
        if operations:
            images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).contiguous()
            for operation_B, magnitude_B in zip(operations[::2], operations[1::2], strict=True):
                images_BCHW = randaugment.apply(images_BCHW, operation_B, magnitude_B)
            pixels_BHWC = images_BCHW.permute(0, 2, 3, 1).contiguous()
        return pixels_BHWC

    def _normalise(self, pixels_BHWC: Tensor) -> Tensor:
        # In place, on the one copy that `float` has made.
        return pixels_BHWC.float().div_(255).sub_(self._mean_HWC).div_(self._std_HWC).permute(0, 3, 1, 2)
