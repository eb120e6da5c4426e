"""What was predicted and what turned out to be true: JSON Lines in `logs/`, only ever appended to.

Each process writes a segment of its own, and begins another when it is full. A line is with the kernel before its
request is answered, so a killed process loses none that it acknowledged. A full disk costs lines, never answers.
"""

import fcntl
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

TAIL_BYTES = 64 * 2**20  # a request's lines are shorter


class Segments:
    """The segments `<kind>-<start>-<random>.jsonl` of one process; held locked, so that others see that it lives."""

    def __init__(self, folder: Path, kind: str, max_bytes: int) -> None:
        self.folder, self.kind, self.max_bytes = folder, kind, max_bytes
        self.descriptor = -1
        self.size = 0

    def append(self, lines: bytes) -> bool:
        """Write whole lines or nothing, and return whether they were written."""
        try:
            if self.descriptor < 0 or (self.size and self.size + len(lines) > self.max_bytes) or self._is_gone():
                self._open()
            written = os.write(self.descriptor, lines)
        except OSError:
            written = 0
        if written == len(lines):
            self.size += written
            return True
        self._take_back()
        return False

    def close(self) -> None:
        """End this process's segment."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def repair(self) -> None:
        """Cut the torn last line off segments whose process was killed while it wrote."""
        for path in self.folder.glob(f"{self.kind}-*.jsonl"):
            with suppress(OSError), path.open("r+b") as segment:
                fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its process lives
                size = segment.seek(0, os.SEEK_END)
                segment.seek(max(0, size - 1))
                if segment.read() in (b"", b"\n"):
                    continue
                start = segment.seek(max(0, size - TAIL_BYTES))
                segment.truncate(start + segment.read().rfind(b"\n") + 1)

    def _is_gone(self) -> bool:
        """Return whether somebody removed the segment: what is written to it nobody would read."""
        return os.fstat(self.descriptor).st_nlink == 0

    def _open(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.kind}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(4).hex()}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self.descriptor, self.size = os.open(self.folder / name, flags, 0o644), 0
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)  # on NFS a shared lock would ask for a file that can be read

    def _take_back(self) -> None:
        try:
            os.ftruncate(self.descriptor, self.size)
        except OSError:
            self.close()  # the torn line stays; the next start repairs it
