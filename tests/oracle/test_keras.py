"""Keras' example "Image segmentation with a U-Net-like architecture" (Chollet 2019), written anew in torch.

torch pads all sides alike. TensorFlow's padding "same" adds max(0, (ceil(n / stride) - 1) stride + kernel - n) rows or
columns, half of them, rounded down, above or left: here they stand as numbers of their own before each layer.
"""

from __future__ import annotations

from typing import Any

import pytest

from segspec.graph.build import build, image_inputs
from segspec.spec.library import shipped
from segspec.spec.net import load_net

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
SPEC = shipped("specs") / "unet_xception.yaml"
DOWN, UP = (32, 64, 128, 256), (256, 256, 128, 64, 32)
SIZE = (32, 48)
"""Height and width of the image: a multiple of 16, where the example's sizes meet again."""


def same(torch: Any, x: Any, kernel: int, stride: int, fill: float) -> Any:
    """The image with what padding "same" adds to it."""
    sides = []
    for length in (x.shape[3], x.shape[2]):
        more = max(0, (-(-length // stride) - 1) * stride + kernel - length)
        sides += [more // 2, more - more // 2]
    return torch.nn.functional.pad(x, sides, value=fill)


def example(torch: Any) -> Any:
    """The example's net, with three classes. Its modules are called like the layers of the spec."""
    nn, relu, pool = torch.nn, torch.relu, torch.nn.functional.max_pool2d

    def norm(channels: int) -> Any:
        return nn.BatchNorm2d(channels, eps=0.001)

    class Down(nn.Module):
        def __init__(self, before: int, filters: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, before, 3, groups=before, bias=False)
            self.conv2 = nn.Conv2d(before, filters, 1)
            self.bn1 = norm(filters)
            self.conv3 = nn.Conv2d(filters, filters, 3, groups=filters, bias=False)
            self.conv4 = nn.Conv2d(filters, filters, 1)
            self.bn2 = norm(filters)
            self.conv5 = nn.Conv2d(before, filters, 1, stride=2)

        def forward(self, previous: Any) -> Any:
            x = self.bn1(self.conv2(self.conv1(same(torch, relu(previous), 3, 1, 0))))
            x = self.bn2(self.conv4(self.conv3(same(torch, relu(x), 3, 1, 0))))
            x = pool(same(torch, x, 3, 2, -torch.inf), 3, 2)
            return x + self.conv5(same(torch, previous, 1, 2, 0))

    class Up(nn.Module):
        def __init__(self, before: int, filters: int) -> None:
            super().__init__()
            self.deconv1 = nn.ConvTranspose2d(before, filters, 3, padding=1)
            self.bn1 = norm(filters)
            self.deconv2 = nn.ConvTranspose2d(filters, filters, 3, padding=1)
            self.bn2 = norm(filters)
            self.conv1 = nn.Conv2d(before, filters, 1)
            self.twice = nn.UpsamplingNearest2d(scale_factor=2)

        def forward(self, previous: Any) -> Any:
            x = self.bn1(self.deconv1(relu(previous)))
            x = self.bn2(self.deconv2(relu(x)))
            return self.twice(x) + self.conv1(self.twice(previous))

    class Example(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, DOWN[0], 3, stride=2)
            self.bn1 = norm(DOWN[0])
            for number, before in enumerate(DOWN[:3]):
                setattr(self, f"e{number + 2}", Down(before, DOWN[number + 1]))
            for number, before in enumerate(UP[:4]):
                setattr(self, f"d{4 - number}", Up(before, UP[number + 1]))
            self.score = nn.Conv2d(UP[4], 3, 3)

        def forward(self, image: Any) -> Any:
            x = relu(self.bn1(self.conv1(same(torch, image, 3, 2, 0))))
            for part in (self.e2, self.e3, self.e4, self.d4, self.d3, self.d2, self.d1):
                x = part(x)
            return self.score(same(torch, x, 3, 1, 0))

    return Example()


def names(module: Any) -> dict[str, str]:
    """Modules with weights, by the layers of the spec, whose blocks stand before a slash."""
    leaves = (name for name, each in module.named_modules() if not list(each.children()) and list(each.parameters()))
    return {name.replace(".", "/"): name for name in leaves}


def test_unet_xception_counts_the_same(torch: Any) -> None:
    graph = build(load_net(SPEC), "DEPLOY", image_inputs(1, *SIZE, 3, labels=False))
    count = sum(parameter.numel() for parameter in example(torch).parameters())
    assert graph.parameters == count == 2_055_203


@pytest.mark.parametrize("size", [SIZE, (160, 160)])
def test_unet_xception(size: tuple[int, int], torch: Any, seasoned: Any, same_outputs: Any) -> None:
    module = seasoned(example(torch), size)
    same_outputs(load_net(SPEC), module, names(module), size, {"score": module})
