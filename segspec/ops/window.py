"""The arithmetic of sliding windows: how many there are and where they lie. Plain integers, no arrays."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


def convolution_output(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """Windows of a convolution along one axis: floor((size + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.

    May be zero or negative when the kernel is larger than the padded input; the caller reports that.
    """
    return (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1


def upper_padding(size: int, reach: int, stride: int) -> int:
    """Zeros before an axis so that ceil(size / stride) windows cover it, with as many behind it or one more.

    Together they are max(0, (ceil(size / stride) - 1) stride + reach - size): ONNX's SAME_UPPER, TensorFlow's SAME.
    """
    return max(0, (-(-size // stride) - 1) * stride + reach - size) // 2


def deconvolution_output(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """Outputs of a transposed convolution along one axis: stride (size - 1) + dilation (kernel - 1) + 1 - 2 pad."""
    return stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad


def pooling_output(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = True) -> int:
    """Windows of a pooling along one axis, as Caffe counts them.

    `ceil((size + 2 pad - kernel) / stride) + 1`, rounded down instead when `ceil` is false. A last window that would
    start outside the image and its leading padding is dropped; Caffe drops it only where there is padding, and fills it
    with the least number there is otherwise.
    """
    span = size + 2 * pad - kernel
    count = (-(-span // stride) if ceil else span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pad else count


@dataclass(frozen=True)
class PoolWindow:
    """The windows of one pooling: enough to place its maxima back.

    A *local index* counts positions inside a window in row-major order, from 0 to kernel height x kernel width - 1;
    together with this geometry it names a pixel of the input plane.

    Attributes:
        kernel, stride: (height, width) in pixels.
        pad: what lies above and left of the plane, (height, width) in pixels; windows may reach beyond its other sides.
        input: (height, width) of the plane that was pooled.
        output: (height, width) of the pooled plane.
    """

    kernel: Pair
    stride: Pair
    pad: Pair
    input: Pair
    output: Pair

    @classmethod
    def over(cls, input: Pair, kernel: Pair, stride: Pair, pad: Pair = (0, 0), *, ceil: bool = True) -> PoolWindow:
        """The windows of a pooling over a plane of this size, counted as Caffe counts them."""
        height, width = (
            pooling_output(input[axis], kernel[axis], stride[axis], pad[axis], ceil=ceil) for axis in (0, 1)
        )
        return cls(kernel, stride, pad, input, (height, width))

    @classmethod
    def same_upper(cls, input: Pair, kernel: Pair, stride: Pair) -> PoolWindow:
        """One window a stride over a plane of this size, see `upper_padding`."""
        top, left = (upper_padding(input[axis], kernel[axis], stride[axis]) for axis in (0, 1))
        rows, columns = (-(-input[axis] // stride[axis]) for axis in (0, 1))
        return cls(kernel, stride, (top, left), input, (rows, columns))

    @property
    def tiles(self) -> bool:
        """Whether windows lie edge to edge from the corner, covering the plane: the fast form applies."""
        return (
            self.kernel == self.stride
            and self.pad == (0, 0)
            and all(self.output[axis] * self.stride[axis] >= self.input[axis] for axis in (0, 1))
        )

    @property
    def positions(self) -> int:
        """Positions in one window; a local index is below this."""
        return self.kernel[0] * self.kernel[1]
