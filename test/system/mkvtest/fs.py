"""Small file systems of their own, to be filled up."""
import os
import pathlib
import subprocess

import pytest


class SmallFileSystem:
    """A tmpfs of a few megabytes; skips the test where mounting is not permitted."""

    def __init__(self, directory, megabytes, inodes=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        options = f"size={megabytes}m" + (f",nr_inodes={inodes}" if inodes else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "mkvtest", str(self.directory)], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a small file system is needed, and mounting one is not permitted here: {done.stderr.strip()}")

    def free(self):
        status = os.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    def fill(self, leave=0):
        """Fills it up to so many bytes."""
        with open(self.directory / "ballast", "ab", buffering=0) as ballast:
            size = self.free() - leave
            if size > 0:
                os.posix_fallocate(ballast.fileno(), ballast.tell(), size)

    def empty(self):
        (self.directory / "ballast").unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.directory)], check=False)
