"""Files of the state folder that a reader never sees half of."""

from pathlib import Path


def write_file(path: Path, octets: bytes, mode: int = 0o644) -> None:
    """All or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=mode)
    try:
        new.write_bytes(octets)
        new.rename(path)
    except OSError:  # of a full disk: what is left of it would keep it full
        new.unlink(missing_ok=True)
        raise
