"""Any input as frames: files, folders, cameras, streams, recordings at an address."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path

from pyimagesearch import video
from pyimagesearch.camera import Camera, read_device, read_stream
from pyimagesearch.console import UserError, count_of, warn
from pyimagesearch.files import find_files
from pyimagesearch.names import name_files, shorten
from pyimagesearch.threads import map_ahead, read_ahead, start
from pyimagesearch.video import Frame, Video, is_address, read_image

import numpy as np

SCHEMES = "http", "https", "rtmp", "rtp", "rtsp", "rtsps", "tcp", "udp"
FIRST_PICTURE_SECONDS = 10.0  # some USB cameras take that long to start


class FileFrames:
    """Every image, and every `skip`-th frame of every video, of some files.

    A video of fewer frames gives its middle one. `files` are paths or an address, by
    source name; they may be replaced before any frame is read. `opening` gives what
    `open_file` returns; it is None for a folder.
    """

    live = False

    def __init__(self, files: dict[str, str], skip: int, opening: Future | None):
        self.files, self._skip, self._opening = files, skip, opening
        self.read = 0  # frames, skipped ones included

    @property
    def kind(self) -> str:
        """Wait until the file is open; return "image", "video" or "folder"."""
        if not self._opening:
            return "folder"
        is_image = getattr(self._opening.result(), "is_image", True)
        return "image" if is_image else "video"

    @property
    def total(self) -> int | None:
        """What `read` will be, if known; for progress bars, as headers can be wrong."""
        if self._opening:
            return getattr(self._opening.result(), "length", 1)
        suffixes = {Path(name).suffix.lower() for name in self.files.values()}
        return len(self.files) if suffixes <= video.IMAGE_SUFFIXES else None

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._decode())

    def _decode(self) -> Iterator[Frame]:
        opened = map_ahead(read_image, map(Path, self.files.values()))
        if self._opening:
            opened = (opening.result() for opening in [self._opening])
        with closing(opened):
            for (source, name), content in zip(self.files.items(), opened, strict=True):
                if isinstance(content, np.ndarray):
                    self.read += 1
                    yield Frame(content, source, 1, 0.0, still=True)
                    continue
                try:
                    yield from self._decode_video(source, content or Video(name))
                except UserError as error:
                    if self._opening:
                        raise
                    warn(f"{error}; skipped")

    def _decode_video(self, source: str, clip: Video) -> Iterator[Frame]:
        number, skip, still = 0, self._skip, clip.is_image
        with closing(clip):
            if clip.is_hdr:
                warn(f"{clip.shown}: {video.HDR_ADVICE}")
            for number, (picture, seconds) in enumerate(clip.frames(), start=1):
                self.read += 1
                if still or number % skip == 0:
                    yield Frame(picture(), source, number, seconds, still)
        is_once = not is_address(clip.name) and Path(clip.name).is_fifo()
        if number < skip and not (still or is_once):
            middle = (number + 1) // 2
            with closing(Video(clip.name, clip.shown)) as again:
                for picture, seconds in islice(again.frames(), middle - 1, middle):
                    yield Frame(picture(), source, middle, seconds)

    def close(self) -> None:
        """Close the file, also if no frame of it was read, or once it is open."""

        def close_video(opening: Future) -> None:
            if not opening.exception() and isinstance(opening.result(), Video):
                opening.result().close()

        if self._opening:
            self._opening.add_done_callback(close_video)


Frames = FileFrames | Camera


def open_frames(source: str, skip: int = 1, patient: bool = False) -> Frames:
    """Open a camera, a stream or files; frames are read as the result is iterated.

    `source` is a camera index ("0") or device, an address with one of SCHEMES, a video,
    an image, or a folder of them at any depth. Every `skip`-th frame is yielded, and
    every image. If `patient`, a camera or stream that died is reopened for ever. What
    cannot be read is a UserError; of a file, it comes with `kind` or the first frame.
    """
    path = Path(source)
    if is_address(source):
        return _open_address(source, skip, patient)
    if not source:
        raise UserError("--input is empty; name a file, folder, camera or address")
    is_index = re.fullmatch(r"\d{1,3}", source) and not path.exists()
    if is_index or path.is_char_device():
        connections = map(read_device, repeat(int(source) if is_index else source))
        name = f"camera{source}" if is_index else path.name
        return Camera(name, connections, patient, skip, FIRST_PICTURE_SECONDS)
    if path.is_dir():
        found = find_files(path, says=True)
        known = video.IMAGE_SUFFIXES | video.VIDEO_SUFFIXES
        files = [file for file in found if file.suffix.lower() in known]
        warn_of_others(path, [*(set(found) - set(files))])
        if not files:
            raise UserError(f"{path}: no images or videos in this folder")
        return FileFrames(name_files(files, path), skip, None)
    if not path.exists():
        what = "no such file, folder or camera; for a camera on the network: http://..."
        raise UserError(f"{path}: {what}")
    return FileFrames(name_files([path], path), skip, start(open_file, source))


def open_file(name: str) -> np.ndarray | Video:
    """Open a file as an image or else as a Video."""
    image = read_image(Path(name)) if Path(name).is_file() else None
    return Video(name) if image is None else image


def _open_address(address: str, skip: int, patient: bool) -> Frames:
    scheme, _, rest = address.partition("://")
    scheme, shown, begun = scheme.lower(), hide_password(address), time.monotonic()
    if scheme not in SCHEMES or rest[:1] in ("", "/"):
        what = f"one of {', '.join(SCHEMES)}, then :// and a host"
        raise UserError(f"{shown}: an address is {what}")
    host_and_path = re.sub(r":\d*(?=/|$)", "", shown.partition("://")[2], count=1)
    name = shorten(re.sub(r"[^\w.-]+", "-", host_and_path or shown).strip("-"))
    address = f"{scheme}://{rest}"
    connect = partial(Video, address, shown)
    opening = start(connect)
    wait([opening], FIRST_PICTURE_SECONDS)
    if opening.done() and not opening.exception() and opening.result().has_end:
        return FileFrames({name: address}, skip, opening)
    seconds = begun + FIRST_PICTURE_SECONDS - time.monotonic()
    connects = chain([opening.result], repeat(connect))
    connections = map(read_stream, connects, repeat(patient))
    return Camera(name, connections, patient, skip, seconds)


def hide_password(address: str) -> str:
    """Reduce an address to scheme, host and path; to its scheme if unclear."""
    # Passwords may contain / # ? @ where they should not.
    return re.sub(r"(?s)(?<=://)([^?#]*[?#].*@.*|[^?#]*@)|[?#].*", "", address)


def warn_of_others(folder: Path, others: list[Path]) -> None:
    """Warn of the files of a folder that are ignored, if there are any."""
    kinds = Counter(path.suffix.lower() or path.name for path in others)
    listed = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(8))
    advice = f"; {video.HEIF_ADVICE}" if {".heic", ".heif"} & {*kinds} else ""
    if others:
        warn(f"{folder}: ignored {count_of(len(others), 'file')}: {listed}{advice}")
