"""Caffe's several spellings of one thing, each put into the one that YAML has.

A layer's parameters are looked at as a mapping from `message.field` to everything written for it.
"""

from __future__ import annotations

from segspec.spec.caffe.types import is_true
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence

Fields = dict[str, list[tuple[Scalar, Node]]]

RENAMED = {
    "concat_param.concat_dim": "concat_param.axis",
    "slice_param.slice_dim": "slice_param.axis",
    "dense_image_data_param.is_color": "dense_image_data_param.color",
    "dense_image_data_param.crop_size": "transform_param.crop_size",
    "dense_image_data_param.mean_value": "transform_param.mean_value",
    "dense_image_data_param.scale": "transform_param.scale",
    "dense_image_data_param.mirror": "transform_param.mirror",
    "dense_image_data_param.crop_height": "transform_param.crop_h",
    "dense_image_data_param.crop_width": "transform_param.crop_w",
    "image_data_param.is_color": "image_data_param.color",
    **{
        f"{message}.{field}": f"transform_param.{field}"
        for message in ("data_param", "image_data_param")
        for field in ("scale", "mean_file", "crop_size", "mirror")
    },
    "convolution_param.hole": "convolution_param.dilation",
    "softmaxloss_param.ignore_label": "loss_param.ignore_label",
}
"""One field under two names."""

MEANS = frozenset(
    (
        *("engine", "force_nd_im2col", "cudnn_math_override", "stable_prod_grad", "cudnn_convolution_algo_seeker"),
        *("forward_type", "backward_type", "forward_math", "backward_math", "conv_algos_override"),
        *("cache", "prefetch", "threads", "parser_threads", "auto_mode", "use_gpu_transform", "random_seed"),
    )
)
"""Fields of any message that choose how Caffe and NVIDIA's fork compute and read, never what."""

_PAIRED = {"kernel_size": "kernel", "stride": "stride", "pad": "pad", "dilation": "hole", "unpool_size": "unpool"}


def gather(layer: Mapping, common: frozenset[str]) -> Fields:
    """Every parameter of a layer by `message.field`; a field outside any message has no dot."""
    found: Fields = {}
    for key, value in layer:
        if key.text in common:
            continue
        if isinstance(value, Mapping):
            for field, inner in value:
                name = f"{key.text}.{field.text}"
                found.setdefault(RENAMED.get(name, name), []).append((field, inner))
        else:
            found.setdefault(key.text, []).append((key, value))
    return found


def respell(fields: Fields, subject: str, problems: Problems) -> Fields:
    """The parameters with every spelling put into the one that YAML has."""
    for message in ("convolution_param", "pooling_param", "unpooling_param"):
        for field, short in _PAIRED.items():
            fields = _pair(fields, f"{message}.{field}", f"{message}.{short}", subject, problems)
    fields = _pair(fields, "transform_param.crop_size", "transform_param.crop", subject, problems)
    return _round_mode(_normalization(_class_weights(_no_crop(_label_type(fields)))))


def _pair(fields: Fields, name: str, short: str, subject: str, problems: Problems) -> Fields:
    """`kernel_h` and `kernel_w` as one `kernel_size`; a padding that is left out is 0, as in Caffe."""
    height, width = fields.get(f"{short}_h"), fields.get(f"{short}_w")
    rest = {key: values for key, values in fields.items() if key not in (f"{short}_h", f"{short}_w")}
    if not height and not width:
        return fields
    key, value = (height or width or [])[-1]
    field = name.partition(".")[2]
    if name in fields:
        problems.add(f"{subject} has '{field}' and '{key.text}'", key.span, "keep one of them")
    elif (not height or not width) and not name.endswith(".pad"):
        other = f"{short.partition('.')[2]}_{'w' if height else 'h'}"
        problems.add(f"{subject} has '{key.text}' without '{other}'", key.span, f"add '{other}', or write '{field}'")
    zero = Scalar(0, value.span)
    pair = (height[-1][1] if height else zero, width[-1][1] if width else zero)
    return {**rest, name: [(key, Sequence(pair, value.span))]}


def _no_crop(fields: Fields) -> Fields:
    """A `crop_size` of 0, Caffe's default, is none."""
    name = "transform_param.crop_size"
    value = _last(fields, name)
    zero = isinstance(value, Scalar) and value.value == 0
    return {key: values for key, values in fields.items() if key != name} if zero else fields


def _class_weights(fields: Fields) -> Fields:
    """caffe-segnet's `class_weighting`, which counts only where `weight_by_label_freqs` is true."""
    flag, weights = "loss_param.weight_by_label_freqs", "loss_param.class_weighting"
    rest = {name: values for name, values in fields.items() if name not in (flag, weights)}
    if weights in fields and is_true(_last(fields, flag)):
        rest["loss_param.class_weights"] = fields[weights]
    return rest


def _normalization(fields: Fields) -> Fields:
    """`normalize: true` is VALID and `false` BATCH_SIZE; `normalization` wins where both stand."""
    name, newer = "loss_param.normalize", "loss_param.normalization"
    rest = {key: values for key, values in fields.items() if key != name}
    if name in fields and newer not in fields:
        key, value = fields[name][-1]
        rest[newer] = [(key, Scalar("VALID" if is_true(value) else "BATCH_SIZE", value.span))]
    return rest


def _label_type(fields: Fields) -> Fields:
    """`has_label: false`, as DeepLab first wrote it, is `label_type: NONE`."""
    name, newer = "image_data_param.has_label", "image_data_param.label_type"
    rest = {key: values for key, values in fields.items() if key != name}
    if name in fields and newer not in fields and not is_true(_last(fields, name)):
        key, value = fields[name][-1]
        rest[newer] = [(key, Scalar("NONE", value.span))]
    return rest


def _round_mode(fields: Fields) -> Fields:
    """`ceil_mode: false`, as some forks write it, is `round_mode: FLOOR`."""
    name = "pooling_param.ceil_mode"
    rest = {key: values for key, values in fields.items() if key != name}
    if name in fields:
        key, value = fields[name][-1]
        rest["pooling_param.round_mode"] = [(key, Scalar("CEIL" if is_true(value) else "FLOOR", value.span))]
    return rest


def _last(fields: Fields, name: str) -> Node | None:
    return fields[name][-1][1] if name in fields else None
