"""The layer types, each declared in the file of its family; `LAYERS` is the complete list."""

from __future__ import annotations

from segspec.layers.activation import (
    BNLL,
    ELU,
    AbsVal,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Swish,
    TanH,
    Threshold,
)
from segspec.layers.affine import Bias, Scale
from segspec.layers.arrangement import Concat, Crop, Flatten, Reshape, Silence, Slice, Split, Tile
from segspec.layers.base import Layer
from segspec.layers.combination import ArgMax, Eltwise, Reduction
from segspec.layers.convolution import Convolution, Deconvolution
from segspec.layers.data import DenseImageData, Input, SyntheticSquares, SyntheticStreet
from segspec.layers.dense import Embed, InnerProduct
from segspec.layers.dropout import Dropout
from segspec.layers.loss import (
    ContrastiveLoss,
    EuclideanLoss,
    FocalLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SoftmaxWithLoss,
)
from segspec.layers.metric import Accuracy
from segspec.layers.normalization import BN, LRN, MVN, BatchNorm
from segspec.layers.pooling import Pooling, PoolingMask, Upsample
from segspec.layers.region_loss import DiceLoss, JaccardLoss, LovaszSoftmaxLoss
from segspec.layers.resampling import Interp

LAYERS: tuple[type[Layer], ...] = (
    DenseImageData,
    SyntheticSquares,
    SyntheticStreet,
    Input,
    Convolution,
    Deconvolution,
    Pooling,
    PoolingMask,
    Upsample,
    Interp,
    BatchNorm,
    BN,
    LRN,
    MVN,
    Scale,
    Bias,
    ReLU,
    PReLU,
    ELU,
    Swish,
    Sigmoid,
    TanH,
    AbsVal,
    BNLL,
    Power,
    Exp,
    Log,
    Threshold,
    Softmax,
    Dropout,
    Concat,
    Slice,
    Split,
    Silence,
    Crop,
    Flatten,
    Reshape,
    Tile,
    Eltwise,
    Reduction,
    ArgMax,
    InnerProduct,
    Embed,
    SoftmaxWithLoss,
    SigmoidCrossEntropyLoss,
    FocalLoss,
    DiceLoss,
    JaccardLoss,
    LovaszSoftmaxLoss,
    EuclideanLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    ContrastiveLoss,
    Accuracy,
)


def by_type(name: str) -> type[Layer] | None:
    """The layer type of this name, as Caffe spells it; None when there is none."""
    return next((layer for layer in LAYERS if layer.type == name), None)


__all__ = ["LAYERS", "by_type"]
