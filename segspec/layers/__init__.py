"""The layer types, each declared in the file of its family; `LAYERS` is the complete list."""

from __future__ import annotations

from segspec.layers.activation import (
    BNLL,
    ELU,
    AbsVal,
    Clip,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Softmax,
    Swish,
    TanH,
    Threshold,
)
from segspec.layers.affine import Bias, BiasChannel, Scale
from segspec.layers.arrangement import Concat, Crop, Flatten, Reshape, Silence, Slice, Split, Tile
from segspec.layers.base import Layer
from segspec.layers.border import MirrorPad
from segspec.layers.boundary_loss import BoundaryLoss
from segspec.layers.cityscapes import CityscapesData
from segspec.layers.combination import ArgMax, Axpy, Eltwise, Reduction
from segspec.layers.convolution import Convolution, Deconvolution, DepthwiseConvolution
from segspec.layers.data import DenseImageData, Input, SyntheticSquares, SyntheticStreet
from segspec.layers.dense import Embed, InnerProduct, Parameter
from segspec.layers.distance_loss import ContrastiveLoss, EuclideanLoss, L1Loss, SmoothL1Loss
from segspec.layers.dropout import Dropout
from segspec.layers.fcn import FCN_LAYOUTS
from segspec.layers.listed import ImageData, ImageLabelmapData, ImageSegData
from segspec.layers.loss import (
    FocalLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SoftmaxWithLoss,
)
from segspec.layers.metric import Accuracy, EltwiseAccuracy, SegAccuracy
from segspec.layers.mining_loss import OHEMLoss
from segspec.layers.normalization import BN, LRN, MVN, BatchNorm, Normalize
from segspec.layers.ordering import BatchReindex, Permute, ShuffleChannel
from segspec.layers.patches import Im2col
from segspec.layers.pooling import SPP, Pooling, PoolingMask
from segspec.layers.region_loss import DiceLoss, JaccardLoss, LovaszSoftmaxLoss
from segspec.layers.resampling import Interp
from segspec.layers.stored import Data, HDF5Data
from segspec.layers.unpooling import Unpooling, Upsample

LAYERS: tuple[type[Layer], ...] = (
    DenseImageData,
    ImageSegData,
    ImageLabelmapData,
    ImageData,
    Data,
    HDF5Data,
    *FCN_LAYOUTS,
    CityscapesData,
    SyntheticSquares,
    SyntheticStreet,
    Input,
    Convolution,
    DepthwiseConvolution,
    Deconvolution,
    Im2col,
    Pooling,
    PoolingMask,
    SPP,
    Upsample,
    Unpooling,
    Interp,
    BatchNorm,
    BN,
    LRN,
    MVN,
    Normalize,
    Scale,
    Bias,
    BiasChannel,
    ReLU,
    ReLU6,
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
    Clip,
    Softmax,
    Dropout,
    Concat,
    Slice,
    Split,
    Silence,
    Crop,
    MirrorPad,
    Flatten,
    Reshape,
    Tile,
    Permute,
    ShuffleChannel,
    BatchReindex,
    Eltwise,
    Axpy,
    Reduction,
    ArgMax,
    InnerProduct,
    Embed,
    Parameter,
    SoftmaxWithLoss,
    SigmoidCrossEntropyLoss,
    FocalLoss,
    OHEMLoss,
    DiceLoss,
    JaccardLoss,
    LovaszSoftmaxLoss,
    BoundaryLoss,
    EuclideanLoss,
    L1Loss,
    SmoothL1Loss,
    ContrastiveLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    Accuracy,
    EltwiseAccuracy,
    SegAccuracy,
)


def by_type(name: str) -> type[Layer] | None:
    """The layer type of this name, as Caffe spells it; None when there is none."""
    return next((layer for layer in LAYERS if layer.type == name), None)


__all__ = ["LAYERS", "by_type"]
