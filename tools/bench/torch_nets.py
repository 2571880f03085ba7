"""SegNet and SegNet-Basic as one writes them in PyTorch, layer for layer those of the shipped specs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def _conv(inputs: int, outputs: int, kernel: int, *, relu: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs)]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def _stage(widths: Sequence[int], kernel: int, *, relu: bool) -> nn.Sequential:
    """Convolutions from each width to the next."""
    return nn.Sequential(*(layer for pair in pairwise(widths) for layer in _conv(*pair, kernel, relu=relu)))


class EncoderDecoder(nn.Module):
    """Stages that pool and stages that place values back where the pooling found its maxima.

    Args:
        encoder, decoder: as many stages each; decoder stages in the order they run.
        score: from features to class scores.
        first: what images go through before.
    """

    def __init__(self, encoder: Sequence[nn.Module], decoder: Sequence[nn.Module], score: nn.Module, first: nn.Module):
        super().__init__()
        self.first = first
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.score = score
        self.pool = nn.MaxPool2d(2, 2, return_indices=True, ceil_mode=True)
        self.unpool = nn.MaxUnpool2d(2, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (batch, classes, height, width) of images (batch, 3, height, width)."""
        x = self.first(images)
        masks: list[torch.Tensor] = []
        sizes: list[torch.Size] = []
        for stage in self.encoder:
            x = stage(x)
            sizes.append(x.shape[2:])
            x, mask = self.pool(x)
            masks.append(mask)
        for stage in self.decoder:
            x = stage(self.unpool(x, masks.pop(), output_size=sizes.pop()))
        scores: torch.Tensor = self.score(x)
        return scores


def segnet(classes: int) -> EncoderDecoder:
    """SegNet: 13 + 13 convolutions of 3 x 3."""
    encoder = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
    decoder = ((512, 512, 512, 512), (512, 512, 512, 256), (256, 256, 256, 128), (128, 128, 64), (64, 64))
    encoder_stages, decoder_stages = ([_stage(widths, 3, relu=True) for widths in half] for half in (encoder, decoder))
    return EncoderDecoder(encoder_stages, decoder_stages, nn.Conv2d(64, classes, 3, padding=1), nn.Identity())


def segnet_basic(classes: int) -> EncoderDecoder:
    """SegNet-Basic: 4 + 4 convolutions of 7 x 7, with ReLUs in the encoder only."""
    encoder = [_stage((3 if number == 0 else 64, 64), 7, relu=True) for number in range(4)]
    decoder = [_stage((64, 64), 7, relu=False) for _ in range(4)]
    return EncoderDecoder(encoder, decoder, nn.Conv2d(64, classes, 1), nn.LocalResponseNorm(5, 1e-4, 0.75))


NETS = {"segnet": segnet, "segnet-basic": segnet_basic}
