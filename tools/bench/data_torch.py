"""PyTorch's side of a contest between loaders: a Dataset as one writes it, and DataLoader.

It is what was found to be fastest. The workers have the cores: more threads that normalise would wait for one another.
Images and labels come from the workers as 8-bit numbers, the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.case import Case
from bench.data_task import FLUSHED_BATCHES, MEAN, SCALE, TIMED_BATCHES, DataTask, loaders


def open_case(settings: dict[str, Any]) -> Case:
    """A DataLoader that runs, one process a core; a step takes a number of batches, each normalised."""
    torch.set_num_threads(1)
    task = DataTask.of(settings)
    dataset = Pictures(task, settings["decoder"])
    loader = DataLoader(dataset, task.batch, sampler=Endless(len(dataset)), num_workers=loaders())
    batches = iter(loader)

    def take(count: int) -> None:
        for _ in range(count):
            images, labels = next(batches)
            normalize(images)
            labels.long()

    return Case(
        lambda: take(TIMED_BATCHES),
        {"images": TIMED_BATCHES * task.batch, "loaders": loaders()},
        begin_turn=lambda: take(FLUSHED_BATCHES),
    )


def normalize(images: torch.Tensor) -> torch.Tensor:
    """(image - MEAN) * SCALE of uint8 images (batch, height, width, 3); the whole batch at once is quickest."""
    return images.float().sub_(torch.tensor(MEAN)).mul_(SCALE)


class Endless(Sampler[int]):
    """Shuffled numbers, epoch after epoch."""

    def __init__(self, count: int):
        self.count = count

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self.count).tolist()


class Pictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images and labels of a list.

    Args:
        task: the pipeline.
        decoder: `opencv` or `pillow`, for images; labels, whose files have palettes, are always Pillow's.
        varied: whether images are mirrored and cropped at random.
    """

    def __init__(self, task: DataTask, decoder: str, *, varied: bool = True):
        lines = (task.folder / "train.txt").read_text().splitlines()
        self.pairs = [[task.folder / name for name in line.split()] for line in lines]
        self.task = task
        self.decode: Callable[[Path], np.ndarray] = {"opencv": _by_opencv, "pillow": _by_pillow}[decoder]
        self.varied = varied

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image_path, label_path = self.pairs[index]
        image, label = self.decode(image_path), np.asarray(Image.open(label_path))
        if self.task.variant == "resize":
            target = self.task.size[::-1]
            image = cv2.resize(image, target, interpolation=cv2.INTER_LINEAR)
            label = cv2.resize(label, target, interpolation=cv2.INTER_NEAREST)
        else:
            image, label = self._crop(image, label)
        if self.varied and torch.rand(()) < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(np.ascontiguousarray(label))

    def _crop(self, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spare = [all - wanted for all, wanted in zip(image.shape[:2], self.task.size, strict=True)]
        row, column = (int(torch.randint(pixels + 1, ())) if self.varied else pixels // 2 for pixels in spare)
        window = (slice(row, row + self.task.size[0]), slice(column, column + self.task.size[1]))
        return image[window], label[window]


def _by_opencv(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))


def _by_pillow(path: Path) -> np.ndarray:
    """In OpenCV's order, blue first."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[..., ::-1]
