#!/usr/bin/python3
"""Makes the folder of attacks beside this script, from ../Reference/images. Each file's expected message stands in expected.tsv.

  images/  given to the decoder        tars/     given to the indexer
  idx/     given to the IDX reader     catalogs/ and indexes/ given to their parsers
"""
import gzip
import hashlib
import io
import os
import struct
import tarfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = os.path.join(HERE, "..", "Reference", "images")
EXPECTED = []


def good(name):
    with open(os.path.join(IMAGES, name), "rb") as file:
        return file.read()


def write(path, data, message):
    os.makedirs(os.path.join(HERE, os.path.dirname(path)), exist_ok=True)
    with open(os.path.join(HERE, path), "wb") as file:
        file.write(data)
    EXPECTED.append(f"{path}\t{message}\n")


def png(width, height, body, color=2, depth=8):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)) + body(chunk) + chunk(b"IEND", b""))


def images():
    jpeg, webp, rgb = good("baseline-420.jpg"), good("lossy.webp"), good("rgb.png")
    write("images/empty.jpg", b"", "the file is empty")
    write("images/text.jpg", b"hello, this is no image at all", "not a JPEG, PNG or WebP")
    write("images/page.jpg", b"<html>404 not found</html>", "it looks like a web page or SVG")
    write("images/animation.jpg", b"GIF89a" + bytes(20), "it is a GIF")
    write("images/header-only.jpg", jpeg[:20], "JPEG: ")
    write("images/cut-off.jpg", jpeg[: len(jpeg) // 2], "JPEG: Premature end of JPEG file")
    write("images/cut-off-last-bytes.jpg", jpeg[:-20], "JPEG: ")
    write("images/no-end-marker.jpg", jpeg[:-2], "JPEG: Premature end of JPEG file")
    middle = len(jpeg) * 2 // 3
    write("images/overwritten.jpg", jpeg[:middle] + b"\xff\xc0" * 40 + jpeg[middle + 80:], "JPEG: ")
    start = jpeg.index(b"\xff\xc0")
    write("images/no-pixels.jpg", jpeg[: start + 5] + b"\0\0\0\0" + jpeg[start + 9:], "JPEG: ")
    write("images/giant.jpg", jpeg[: start + 5] + b"\xff\xdc\xff\xdc" + jpeg[start + 9:], "more than the 256 million that are decoded")
    write("images/many-scans.jpg", scans(good("progressive-420.jpg")), "JPEG: more than 128 scans")
    write("images/cut-off.png", rgb[: len(rgb) // 2], "PNG: ")
    write("images/bad-crc.png", rgb[:100] + bytes([rgb[100] ^ 1]) + rgb[101:], "PNG: ")
    write("images/header-only.png", rgb[:33], "PNG: ")
    write("images/signature-only.png", rgb[:8], "PNG: ")
    write("images/no-pixels.png", png(0, 5, lambda chunk: chunk(b"IDAT", zlib.compress(b"\0"))), "PNG: ")
    write("images/giant.png", png(60000, 60000, lambda chunk: chunk(b"IDAT", zlib.compress(bytes(100)))), "more than the 256 million that are decoded")
    write("images/too-few-rows.png", png(20, 20, lambda chunk: chunk(b"IDAT", zlib.compress(bytes(61 * 10)))), "PNG: ")
    write("images/no-palette.png", png(4, 4, lambda chunk: chunk(b"IDAT", zlib.compress(bytes(20))), color=3), "PNG: ")
    write("images/cut-off.webp", webp[: len(webp) // 2], "WebP: ")
    write("images/header-only.webp", webp[:16], "WebP: ")
    write("images/overwritten.webp", webp[:24] + bytes(len(webp) - 24), "WebP: ")


def scans(progressive):
    """Repeats the first scan of a progressive JPEG 130 times."""
    start = progressive.index(b"\xff\xda")
    end = start + 2
    while progressive[end] != 0xFF or progressive[end + 1] == 0:
        end += 1
    return progressive[:start] + progressive[start:end] * 130 + progressive[end:]


def tar(members, format=tarfile.USTAR_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    return data[: (len(data.rstrip(b"\0")) + 511) // 512 * 512] + bytes(1024)  # without the padding to 10 KiB


def tars():
    image = good("gray.jpg")
    sound = tar([("a.jpg", image), ("a.cls", b"1"), ("b.jpg", image)])
    end = len(sound.rstrip(b"\0"))
    write("tars/empty.tar", b"", "the tar is empty (0 bytes)")
    write("tars/text.tar", b"this is a text file, not a tar\n" * 40, "this is not a tar")
    write("tars/short.tar", b"tiny", "the tar is cut off")
    write("tars/zipped.tar", gzip.compress(sound, mtime=0), "this is not a tar")
    write("tars/cut-off-content.tar", sound[: end - 700], "the tar is cut off: member 'b.jpg' has")
    write("tars/cut-off-header.tar", sound[: 512 + (len(image) + 511) // 512 * 512 + 300], "the tar is cut off")
    write("tars/no-end.tar", sound[: (end + 511) // 512 * 512], "without the end-of-archive block")
    write("tars/bad-checksum.tar", sound[:3] + b"X" + sound[4:], "its checksum is")
    second = 512 + (len(image) + 511) // 512 * 512
    write("tars/bad-second-header.tar", sound[:second] + b"\x7f" + sound[second + 1:], "is no tar header")
    write("tars/duplicate-suffix.tar", tar([("a.jpg", image), ("a.JPG", image)]), "sample 'a' has two members with the suffix 'jpg'")
    write("tars/apart.tar", tar([("a.jpg", image), ("b.jpg", image), ("a.cls", b"1")]), "sample 'a' stands at two places")
    write("tars/many-members.tar", tar([(f"a.{i}.jpg", b"") for i in range(300)]), "more than 256 members")
    huge = bytearray(tar([("a.jpg", image)]))
    huge[124:136] = b"77777777777\0"
    write("tars/huge-size.tar", checksum(huge), "the tar is cut off: member 'a.jpg' has 8589934591 bytes")
    negative = bytearray(tar([("a.jpg", image)]))
    negative[124:136] = b"\xff" * 12
    write("tars/negative-size.tar", checksum(negative), "its size field is no number")
    write("tars/bad-pax.tar", tar_with_pax(b"999 path=x\n"), "the pax header at byte 0 is malformed")
    write("tars/bad-pax-size.tar", tar_with_pax(b"12 size=-1\n\n"[:11].replace(b"12", b"11")), "has a size that is no number")


def checksum(archive):
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    return bytes(archive)


def tar_with_pax(record):
    archive = bytearray(tar([("PaxHeaders/a", record), ("a.jpg", good("gray.jpg"))]))
    archive[156:157] = b"x"
    return checksum(archive)


def idx():
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4)
    write("idx/empty", b"", "it is empty, expected 00000803")
    write("idx/short", b"\0\0", "it begins with 0000, expected 00000803")
    write("idx/png", good("gray.png"), "it begins with 89504E47, expected 00000803")
    write("idx/labels", struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"\1\2\3", "Are images and labels exchanged?")
    write("idx/floats", struct.pack(">BBBBIII", 0, 0, 13, 3, 2, 3, 4), "it begins with 00000D03, expected 00000803")
    write("idx/header-only", header[:10], "its header ends after 10 of 16 bytes")
    write("idx/cut-off", header + bytes(23), "[2, 3, 4] are 24 bytes, but the file holds 23")
    write("idx/cut-off.gz", gzip.compress(header + bytes(24), mtime=0)[:-12], "idx")
    write("idx/damaged.gz", gzip.compress(header + bytes(24), mtime=0)[:10] + b"\xff" * 20, "the gzip data is damaged")
    write("idx/no-images", struct.pack(">BBBBIII", 0, 0, 8, 3, 0, 28, 28), "the file holds 0 images of 28 x 28 pixels")
    write("idx/huge", struct.pack(">BBBBIII", 0, 0, 8, 3, 0x7fffffff, 0x7fffffff, 0x7fffffff), "more than 2 GiB")
    write("idx/negative", struct.pack(">BBBBIII", 0, 0, 8, 3, 0xffffffff, 28, 28), "more than 2 GiB")


def sealed(body):
    return body + hashlib.sha256(body).digest()


def packed():
    for folder, magic, kind in [("catalogs", b"DMCATLG", "catalog"), ("indexes", b"DMINDEX", "shard index")]:
        write(f"{folder}/empty", b"", f"this is not a DarkMatter {kind}")
        write(f"{folder}/foreign", good("gray.png"), f"this is not a DarkMatter {kind}")
        write(f"{folder}/cut-off", magic + b"\1\0\0", f"the {kind} is cut off after 10 bytes")
        write(f"{folder}/version", sealed(magic + b"\2" + bytes(40)), f"the {kind} has format version 2, and this program reads version 1")
        write(f"{folder}/bad-digest", magic + b"\1" + bytes(80), "its content does not match its SHA-256")
        write(f"{folder}/no-content", sealed(magic + b"\1"), f"the {kind} is damaged: it ends inside")
    write("catalogs/too-many-shards", sealed(b"DMCATLG\1" + b"\xff\xff\xff\x07" + bytes(32)), "it claims 16777215 shards in 0 bytes")
    write("catalogs/endless-number", sealed(b"DMCATLG\1" + b"\xff" * 12 + bytes(32)), "number of shards is no number")
    write("catalogs/bad-prefix", sealed(b"DMCATLG\1\1" + bytes(32) + b"\5\1a\1\1" + bytes(8)), "shared prefix is 5, more than 0")
    write("catalogs/trailing", sealed(b"DMCATLG\1\0" + bytes(32) + b"more"), "4 bytes follow its end")
    write("indexes/too-many-samples", sealed(b"DMINDEX\1\x80\x10\1\0\3jpg\xff\xff\xff\x07"), "it claims 16777215 samples in 0 bytes")
    write("indexes/beyond-tar", sealed(b"DMINDEX\1\x80\x10\1\0\3jpg\1" + b"\0\1a\1\0\x80\x08\x80\x10"), "member length is 2048, more than 1024")
    write("indexes/no-image", sealed(b"DMINDEX\1\x80\x10\1\0\3cls\1" + b"\0\1a\1\0\x80\x04\1"), "sample 'a' has no image")
    write("indexes/bad-suffix", sealed(b"DMINDEX\1\x80\x10\1\0\3jpg\1" + b"\0\1a\1\7\x80\x04\1"), "suffix is 7, more than 0")


if __name__ == "__main__":
    images()
    tars()
    idx()
    packed()
    with open(os.path.join(HERE, "expected.tsv"), "w") as file:
        file.writelines(EXPECTED)
