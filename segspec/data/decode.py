"""Decoding one picture or one label, completely or not at all.

Pictures are decoded by OpenCV into blue, green, red, as Caffe does; the orientation that EXIF names is applied, as
viewers and OpenCV itself do. Labels are decoded by Pillow, which keeps the indices of a palette.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from segspec.data.headers import read_size
from segspec.errors import DataError

MAX_PIXELS = 2**26
MAX_BYTES = 2**30
_AGAIN = "copy or export it again"
_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


def read_image(path: str | Path, channels: int = 3) -> np.ndarray:
    """Decodes a picture.

    Alpha is dropped, the first frame of an animation is taken, 16 bits are scaled to 8, CMYK becomes colour.

    Args:
        path: the file.
        channels: 3 for blue, green, red; 1 for grey.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file cannot be read or decoded, or holds more than 2^26 pixels.
    """
    return decode_image(path, read_file(path), channels)


def decode_image(path: str | Path, data: bytes, channels: int) -> np.ndarray:
    """Decodes the bytes of a picture as `read_image` does; `path` is what to call it."""
    size = read_size(data)
    known = size is not None and size[0] * size[1] <= MAX_PIXELS and not _is_cut(data)
    if not known:
        open_picture(path, data).close()
    image = _decode(data, cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
    if image is None:
        open_picture(path, data).close()
        raise DataError(_why_undecodable(data), place=str(path), hint="save it again as an 8-bit PNG or JPEG")
    return image.reshape(image.shape[0], image.shape[1], channels)


def _decode(data: bytes, flag: int) -> np.ndarray | None:
    """What OpenCV makes of a picture, if anything."""
    _quieten_libraries()
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None


def read_file(path: str | Path) -> bytes:
    """The bytes of a regular file of at most 2^30 bytes. Raises DataError for everything else."""
    place = str(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise DataError("is a folder, not a picture", place=place, hint="name a file")
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is not a regular file", place=place, hint="name a picture on disk")
        if status.st_size > MAX_BYTES:
            raise DataError(f"is too large a file: {status.st_size} bytes", place=place, hint="cut it into tiles")
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        hint = "the link's target is gone" if os.path.islink(path) else "correct the path in the list"
        raise DataError("no such file", place=place, hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot be read: {reason}", place=place, hint="check the path, links and rights") from None
    if not data:
        raise DataError("is an empty file", place=place, hint=_AGAIN)
    return data


def open_picture(path: str | Path, data: bytes) -> Image.Image:
    """The picture's header, read by Pillow; its pixels are not decoded yet. Raises DataError."""
    _quieten_libraries()
    try:
        picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        message, hint = _what_it_is(data)
        raise DataError(message, place=str(path), hint=hint) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path, f"more than {MAX_PIXELS}") from None
    except Exception as error:  # Pillow's readers raise whatever their format's parser raises.
        raise DataError(f"damaged picture: {error}", place=str(path), hint=_AGAIN) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(path, f"{picture.width} x {picture.height}")
    if _is_cut(data):
        raise DataError(f"damaged picture: the {picture.format} ends too early", place=str(path), hint=_AGAIN)
    return picture


def load_pixels(path: str | Path, picture: Image.Image) -> Image.Image:
    """All pixels of a picture, turned as EXIF says. Raises DataError where any is missing."""
    try:
        picture.load()
        if picture.format == "PNG" and not picture.info:
            return picture
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception as error:  # Pillow's decoders raise whatever their format's parser raises.
        raise DataError(f"damaged picture: {error}", place=str(path), hint=_AGAIN) from None
    return picture


def _too_large(path: str | Path, size: str) -> DataError:
    return DataError(
        f"holds too many pixels: {size}, at most {MAX_PIXELS} (8192 x 8192)", place=str(path), hint="cut it into tiles"
    )


def _what_it_is(data: bytes) -> tuple[str, str]:
    """What a file is that is no picture, and the remedy."""
    start = data[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the picture itself", "fetch it with 'git lfs pull'"
    if start.startswith((b"<!doctype", b"<html")):
        return "is a web page, not a picture", "download the picture itself"
    if start.startswith((b"<svg", b"<?xml")):
        return "is an XML or SVG file, not a picture of pixels", "export it as PNG"
    if start.startswith(b"%pdf"):
        return "is a PDF file, not a picture", "export its page as PNG"
    if start.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        return "is an archive, not a picture", "unpack it first"
    if start.startswith(b"\x93numpy"):
        return "is a NumPy array, not a picture", "save it as PNG"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "is a HEIC picture, which cannot be decoded here", "export it as JPEG or PNG"
    if not any(data):
        return "holds only zero bytes", _AGAIN
    if data.startswith(_SIGNATURES):
        return "damaged picture, or a kind that cannot be decoded here", "copy it again, or save it as an 8-bit PNG"
    return "is not a picture that can be decoded", "save it as PNG or JPEG"


def _is_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker. Some decoders fill in what is missing and say nothing."""
    if data.startswith(b"\xff\xd8"):
        if data.endswith(b"\xff\xd9"):  # saves the search for the start of the scan through all of it
            return False
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return data.startswith(b"\x89PNG") and data.rfind(b"IEND") < 0


def _why_undecodable(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            kind = f"{picture.format} picture of mode {picture.mode}"
            picture.load()
    except Exception as error:  # Pillow's decoders raise whatever their format's parser raises.
        return f"damaged picture: {error}"
    return f"cannot decode a {kind}"


@cache
def _quieten_libraries() -> None:
    """Leaves it to our errors, once each, to say what OpenCV and Pillow would also write to standard error."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
