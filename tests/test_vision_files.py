"""Picture files: every kind that is read, what is refused, and damage of any kind."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import fastnn
from fastnn.errors import CorruptFileError, DTypeError, LimitError
from fastnn.vision import read_image
from fastnn.vision.files import FORMATS

Image = pytest.importorskip("PIL.Image")
GREY = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
WIDE = np.array([[0, 1, 128, 129, 255, 256], [257, 1000, 32768, 40000, 65534, 65535]], np.uint16)
NARROW = np.round(WIDE / 65535 * 255)                   # no ties: 257 is odd


def pixels(path, mode="RGB"):
    t = read_image(path, mode)
    assert t.dtype is fastnn.uint8
    return t.numpy()


def png(path, array, color_type, extra=()):
    """A PNG by hand: Pillow writes no 16-bit colours."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    h, w = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(array.dtype.newbyteorder(">")).tobytes() for row in array)
    header = struct.pack(">IIBBBBB", w, h, 8 * array.itemsize, color_type, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + b"".join(chunk(*e) for e in extra)
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


# ---------------------------------------------------------------- what is read

@pytest.mark.parametrize("ending, options", [
    ("png", {}), ("bmp", {}), ("ppm", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"}),
    ("webp", {"lossless": True})])
def test_colours_are_exact(tmp_path, ending, options):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(COLOUR).save(path, **options)
    np.testing.assert_array_equal(pixels(path), COLOUR.transpose(2, 0, 1))
    assert pixels(path, "L").shape == (1, 5, 7)
    rgba = pixels(str(path), "RGBA")
    np.testing.assert_array_equal(rgba[:3], COLOUR.transpose(2, 0, 1))
    assert (rgba[3] == 255).all()


def test_grey_is_one_channel_or_three_alike(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png", "L"), GREY[None])
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), np.stack([GREY] * 3))
    Image.fromarray(GREY > 99).save(tmp_path / "b.png")                     # one bit
    np.testing.assert_array_equal(pixels(tmp_path / "b.png", "L"), 255 * (GREY > 99)[None])


def test_jpeg_is_near(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert abs(pixels(tmp_path / "a.jpg", "L")[0].astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_sixteen_bits_are_rounded_not_cut_off(tmp_path, name, mode):
    if name == "a.pgm":
        (tmp_path / name).write_bytes(b"P5 6 2 65535\n" + WIDE.astype(">u2").tobytes())
    else:
        Image.fromarray(WIDE).save(tmp_path / name)
    found = pixels(tmp_path / name, mode)
    for channel in found[:3]:
        np.testing.assert_array_equal(channel, NARROW)


@pytest.mark.parametrize("color_type, channels", [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_several_channels(tmp_path, color_type, channels):
    """Pillow keeps their upper bytes: at most one off, and nothing at the end of the range."""
    wide = np.random.default_rng(2).integers(0, 65536, (4, 6, channels), np.uint16)
    wide[0, 0] = 65535
    found = pixels(png(tmp_path / "a.png", wide, color_type), "RGBA")
    keep = {2: [0, 1, 2], 4: [0, 0, 0, 1], 6: [0, 1, 2, 3]}[color_type]
    want = (wide[..., keep] / 257).transpose(2, 0, 1)
    assert abs(found[:len(keep)] - want).max() <= 1 and (found[:, 0, 0] == 255).all()


@pytest.mark.parametrize("ending, options", [
    ("png", {}), ("jpg", {"quality": 100}), ("tif", {}), ("tif", {"compression": "tiff_lzw"}),
    ("webp", {"lossless": True})], ids=["png", "jpg", "tif", "tif-lzw", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, ending, options, orientation):
    upright = np.repeat(np.repeat(np.uint8([[0, 60, 120], [180, 220, 255]]), 8, 0), 8, 1)
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
            5: np.transpose, 6: np.rot90, 7: lambda a: np.rot90(a, 2).T,
            8: lambda a: np.rot90(a, -1)}
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    stored.save(tmp_path / f"a.{ending}", exif=exif, **options)
    found = pixels(tmp_path / f"a.{ending}", "L")[0]
    assert found.shape == upright.shape and abs(found.astype(int) - upright).max() <= 2


def test_sixteen_bits_lying_on_their_side(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(WIDE))).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png", "L")[0], NARROW)


def test_palettes_and_transparency(tmp_path):
    palette = Image.fromarray(np.uint8([[0, 1, 2]]), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    colours = np.uint8([[[10, 40, 70]], [[20, 50, 80]], [[30, 60, 90]]])
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), colours)
    palette.save(tmp_path / "b.png", transparency=bytes([0, 128, 255]))
    palette.save(tmp_path / "c.gif", transparency=1)
    for name, alpha in (("b.png", [0, 128, 255]), ("c.gif", [255, 0, 255])):
        np.testing.assert_array_equal(pixels(tmp_path / name), colours)
        rgba = pixels(tmp_path / name, "RGBA")
        np.testing.assert_array_equal(rgba[3], [alpha])


@pytest.mark.parametrize("mode, channels", [("LA", 2), ("RGBA", 4)])
def test_transparency_is_left_out_unless_asked_for(tmp_path, mode, channels):
    data = np.random.default_rng(3).integers(0, 256, (5, 7, channels), np.uint8)
    Image.fromarray(data, mode).save(tmp_path / "a.png")
    colour = data[..., [0, 0, 0] if mode == "LA" else [0, 1, 2]].transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), colour)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png", "RGBA"),
                                  np.concatenate([colour, data[None, :, :, -1]]))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_cmyk(tmp_path, mode):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    for name in ("a.tif", "a.jpg"):
        found = pixels(tmp_path / name, mode)[:, 0, 0].astype(int)
        want = {"RGB": [255, 0, 0], "RGBA": [255, 0, 0, 255], "L": [76]}[mode]
        assert abs(found - want).max() <= 2


@pytest.mark.parametrize("ending", ["gif", "webp", "tif", "png"])
def test_of_several_frames_the_first(tmp_path, ending):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    found = pixels(tmp_path / f"a.{ending}")
    assert found.shape == (3, 4, 6) and found[:, 0, 0].tolist() == [255, 0, 0]


def test_pictures_of_phones(tmp_path):
    """A JPEG that carries others behind it is MPO to Pillow."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert pixels(tmp_path / "a.jpg").shape == (3, 16, 16)


def test_a_name_does_not_matter(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "b.jpg")
    np.testing.assert_array_equal(pixels(tmp_path / "b.jpg"), COLOUR.transpose(2, 0, 1))


# ---------------------------------------------------------------- what is refused

def saved(path, kind, **options):
    Image.fromarray(COLOUR).save(path, kind, **options)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "SGI", "JPEG2000", "PDF"])
def test_other_decoders_are_out_of_reach(tmp_path, kind):
    """Pillow hands EPS to Ghostscript, a whole language; none of these gets that far."""
    saved(tmp_path / "a.png", kind)
    with pytest.raises(CorruptFileError, match="need a whole file in one of the formats PNG, JPEG"):
        read_image(tmp_path / "a.png")
    assert kind not in FORMATS


@pytest.mark.filterwarnings("ignore")               # Pillow's, about the damage
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_a_file_cut_off_anywhere(tmp_path, ending):
    """An error, unless all pixels are there."""
    data, path = saved(tmp_path / f"a.{ending}", None), tmp_path / f"b.{ending}"
    whole = pixels(tmp_path / f"a.{ending}")
    refused = 0
    for n in range(len(data)):
        path.write_bytes(data[:n])
        try:
            np.testing.assert_array_equal(pixels(path), whole)
        except CorruptFileError as e:
            assert "need a whole file" in str(e)
            refused += 1
    assert refused > len(data) // 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_damaged_bytes(tmp_path, ending):
    """Some picture, or an error of ours: never another exception, never a crash."""
    data, path = saved(tmp_path / f"a.{ending}", None), tmp_path / f"b.{ending}"
    rng = np.random.default_rng(4)
    fastnn.limits.set_max_bytes(fastnn.live_bytes() + 2**24)        # sizes are damaged, too
    try:
        for at in rng.permutation(min(len(data), 400))[:150]:
            for value in (0, 255, int(rng.integers(256))):
                path.write_bytes(data[:at] + bytes([value]) + data[at + 1:])
                try:
                    read_image(path)
                except (CorruptFileError, LimitError, DTypeError, MemoryError):
                    pass
    finally:
        fastnn.limits.set_max_bytes(0)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = np.zeros((1, 1), np.uint8)
    data = bytearray(png(tmp_path / "a.png", header, 0).read_bytes())
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(LimitError, match="10000000000 pixels.*need fewer, or a larger PIL"):
        read_image(tmp_path / "a.png")


def test_the_limit_of_memory_holds_before_unpacking(tmp_path):
    Image.new("L", (4000, 4000)).save(tmp_path / "a.png")
    taken = fastnn.zeros(20_000_000)
    fastnn.limits.set_max_bytes(fastnn.live_bytes() + 2**20)
    try:
        with pytest.raises(MemoryError, match="4000 x 4000 pixels, 64000000 bytes; need"):
            read_image(tmp_path / "a.png")
        assert taken.numel() == 20_000_000
    finally:
        fastnn.limits.set_max_bytes(0)


@pytest.mark.parametrize("dtype, mode", [(np.float32, "F"), (np.int32, "I")])
def test_pixels_without_a_known_range(tmp_path, dtype, mode):
    Image.fromarray(np.array([[1, 70000]], dtype)).save(tmp_path / "a.tif")
    with pytest.raises(DTypeError, match=f"mode '{mode}'; need 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_what_is_no_file(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(CorruptFileError, match=r"text\.png: got no readable picture"):
        read_image(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    os.mkfifo(tmp_path / "pipe.png")                # an open() of it would wait for ever
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(OSError, match="got no regular file"):
            read_image(path)
    with pytest.raises(ValueError, match="mode: got 'F'; need 'RGB', 'RGBA' or 'L'"):
        read_image(tmp_path / "text.png", "F")


def test_without_pillow():
    code = ("import sys; sys.modules['PIL'] = None\n"
            "from fastnn.vision import read_image, transforms\n"
            "try: read_image('a.png')\n"
            "except ModuleNotFoundError as e: print(e)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == 'pictures need Pillow: pip install "fastnn-engine[vision]"\n'
