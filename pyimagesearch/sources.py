"""Where frames come from: a camera, a stream, a video, an image, or a folder."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from pyimagesearch.cameras import LiveFrames
from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.frames import FileFrames
from pyimagesearch.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_files

MAX_CAMERA = 999


def open_frames(
    source: str, skip: int = 1, patient: bool = False
) -> FileFrames | LiveFrames:
    """Open a camera, a stream or files; frames are read as the result is iterated.

    Parameters
    ----------
    source : str
        A camera index ("0"), an http, https, rtsp or rtmp address, a video, an image,
        or a folder of images and videos, which are taken in natural order (2 before
        10), folders in it included.
    skip : int, default 1
        Give every `skip`-th frame of a video, beginning with the `skip`-th; images
        are all given.

    patient : bool, default False
        Try for ever to open a camera or stream again that died.

    Raises
    ------
    UserError
        When there is nothing there that can be read.
    """
    path = Path(source)
    if source.isdecimal() and not path.exists():
        if int(source) > MAX_CAMERA:
            raise UserError(f"camera {source}: they count from 0 to {MAX_CAMERA}")
        return LiveFrames(int(source), skip, patient)
    if re.match(r"(https?|rtsps?|rtmp)://", source, re.IGNORECASE):
        try:
            parts = urlsplit(source)
            has_host = parts.hostname and parts.port != 0
        except ValueError as error:
            raise UserError(f"--input: not an address: {error}") from None
        if not has_host:
            raise UserError(f"{source}: an address wants a host after the //")
        return LiveFrames(source, skip, patient)
    if not source:
        raise UserError("--input is empty; name a file, folder, camera or address")
    if path.is_dir():
        files = find_files(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        warn_of_others(path, files)
        if not files:
            raise UserError(f"{path}: no images or videos in this folder")
    elif path.exists():
        files = [path]
    else:
        raise UserError(f"{path}: no such file, folder or camera")
    return FileFrames(_name_sources(files, path), skip, path.is_dir())


def warn_of_others(folder: Path, taken: list[Path]) -> None:
    """Say which files of a folder are passed over."""
    others = set(find_files(folder)) - {*taken}
    if others:
        kinds = Counter(path.suffix.lower() or path.name for path in others)
        listed = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(8))
        warn(f"{folder}: passed over {count_of(len(others), 'file')}: {listed}")


def _name_sources(files: list[Path], root: Path) -> dict[str, str]:
    """Give each file a name of its own.

    That is its stem, with its folders below `root` and, where two files still share
    it, the suffix.
    """
    stems = {}
    for file in files:
        parts = file.relative_to(root).parts[:-1] if file != root else ()
        stems.setdefault("-".join([*parts, file.stem]), []).append(file)
    named = {}
    for stem, same in stems.items():
        for file in same:
            name = stem if len(same) == 1 else f"{stem}-{file.suffix[1:]}"
            while name in named:  # a/x.mp4 beside a-x.mp4
                name += "-again"
            named[name] = str(file)
    return named
