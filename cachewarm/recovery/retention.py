"""A folder of archives: dated names, and only as many as wanted, counted by those that verify."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cachewarm.errors import Refused
from cachewarm.recovery.verify import Demand, verify_file

SUFFIX = ".backup"


@dataclass(frozen=True, kw_only=True)
class ListedArchive:
    """A file of the folder; `problem` is a sentence when it does not verify."""

    path: Path
    size: int
    created: str = ""
    certificates: int = 0
    generation: int = 0
    seq: int = 0
    sealed: bool = False
    signed_by: str = ""
    problem: str = ""

    def row(self) -> dict[str, object]:
        """Return what a list shows."""
        return {
            "file": str(self.path),
            "created": self.created,
            "bytes": self.size,
            "certificates": self.certificates,
            "generation": self.generation,
            "seq": self.seq,
            "sealed": self.sealed,
            "signed_by": self.signed_by,
            "verified": self.problem or "yes",
        }


@dataclass
class Kept:
    """Archives that a retention removed, and those that did not verify."""

    removed: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def new_name(folder: Path) -> Path:
    """Return the path of an archive of now; the folder is made, 0700."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"fastocsp-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"


def archives_in(folder: Path, key: str | None) -> list[ListedArchive]:
    """Return the archives of a folder, each verified but for its counts, the newest first by their signed date."""
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder")
    found = [_listed(path, key) for path in folder.glob(f"*{SUFFIX}") if path.is_file()]
    return sorted(found, key=lambda each: (each.created, str(each.path)), reverse=True)


def _listed(path: Path, key: str | None) -> ListedArchive:
    size = path.stat().st_size
    try:
        manifest = verify_file(path, Demand(key=key, count=False)).manifest
    except (Refused, OSError) as error:
        return ListedArchive(path=path, size=size, problem=str(error))
    fields = manifest.fields
    return ListedArchive(
        path=path,
        size=size,
        created=fields["created"],
        certificates=fields["certificates"],
        generation=fields["feed"]["generation"],
        seq=fields["feed"]["seq"],
        sealed=fields["sealed"],
        signed_by=manifest.signed_by,
    )


def keep_newest(folder: Path, count: int, key: str) -> Kept:
    """Remove archives beyond the `count` newest; only those that verify and are signed by `key` count or go."""
    kept = Kept()
    good = 0
    for each in archives_in(folder, key):
        if each.problem:
            kept.problems.append(each.problem)
        elif good < count:
            good += 1
        else:
            each.path.unlink()
            kept.removed.append(each.path)
    return kept
