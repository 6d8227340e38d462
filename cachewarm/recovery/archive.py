"""The file of a backup: a tar archive of small members, a manifest with the hash of each, and a signature over it.

    fastocsp-backup             {"format": 1, ...}, in the clear
    ledger/TABLE/000001, ...    a table in Postgres's binary COPY format, cut into pieces of 4 MiB, each deflated (zlib)
    keys/000001, ...            a private key file as it is on the disk, deflated
    manifest.json               what all of this is, with size and SHA-256 of every member before it
    manifest.sig                the public key and its Ed25519 signature over the manifest

A sealed archive has each ledger and key member encrypted for the recipients (age-encryption.org/v1) after it was
deflated. Hashes are of the bytes as they are stored, so that a sealed archive can be verified without any identity.

`tar tf` lists an archive. The reader is stricter than tar: every byte that is not the one that the writer would have
written is damage. Both work on one member at a time: memory does not grow with the ledger.
"""

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any, NamedTuple

from cachewarm.errors import Refused
from cachewarm.recovery.backup_key import BackupKey, signature_holds
from cachewarm.recovery.sealing import Sealer

FORMAT = 1
HEAD, MANIFEST, SIGNATURE = "fastocsp-backup", "manifest.json", "manifest.sig"
#: Bytes of a table before they are deflated.
PIECE = 4 << 20
#: The most that a stored piece can have: zlib and age add little to what cannot be made smaller.
_MEMBER_MAX, _MANIFEST_MAX = PIECE + (64 << 10), 256 << 20
_BLOCK, _END = 512, b"\0" * 1024
_LEVEL = 1


class Member(NamedTuple):
    """One member as it is stored."""

    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Hash of what is stored."""
        return hashlib.sha256(self.content).hexdigest()


class ArchiveWriter:
    """Writes members one after the other, and the signed manifest last."""

    def __init__(self, file: IO[bytes], name: str, *, product: str, created: str, sealer: Sealer | None = None) -> None:
        self._file, self._name, self._sealer = file, name, sealer
        self._members: dict[str, dict[str, Any]] = {}
        self._head = {"format": FORMAT, "product": product, "created": created, "sealed": sealer is not None}
        self._put(HEAD, _json(self._head))

    def add(self, name: str, content: bytes) -> None:
        """Add a member of at most PIECE bytes, deflated and, in a sealed archive, encrypted."""
        stored = zlib.compress(content, _LEVEL)
        self._put(name, self._sealer.seal(stored) if self._sealer else stored)

    def finish(self, manifest: Mapping[str, Any], key: BackupKey) -> None:
        """Write the manifest and its signature; nothing can be added after that."""
        whole = _json({**self._head, **manifest, "members": self._members})
        self._put(MANIFEST, whole)
        self._put(SIGNATURE, _signature(key.public, key.sign(whole)))
        self._write(_END)

    def _put(self, name: str, stored: bytes) -> None:
        self._members[name] = {"size": len(stored), "sha256": hashlib.sha256(stored).hexdigest()}
        self._write(_header(name, len(stored)) + stored + _padding(len(stored)))

    def _write(self, octets: bytes) -> None:
        """Write; an error is Refused at once, before a driver in between takes it for its own."""
        try:
            self._file.write(octets)
        except OSError as error:
            raise Refused(f"{self._name} was not written: {error.strerror or error}") from error


class Manifest(NamedTuple):
    """The signed manifest of an archive that was read to its end: its fields, its hash, and the key that signed it."""

    fields: dict[str, Any]
    sha256: str
    signed_by: str


def read_members(file: IO[bytes], name: str) -> Iterator[Member]:
    """Yield every member from the file's beginning to its end. Refused, with one sentence, for what is no archive."""
    position, first = 0, True
    while True:
        block = _read(file, _BLOCK, name)
        if block == _END[:_BLOCK]:
            if first:
                raise Refused(f"{name} is not a fastocsp backup")
            if block + _read(file, _BLOCK + 1, name) != _END:
                raise _damaged(name, position)
            return
        size = _parse(block, name, position, first=first)
        stored = _read(file, size + len(_padding(size)), name)
        member = block[:100].rstrip(b"\0").decode()
        if len(stored) < size + len(_padding(size)):
            raise _cut(name, position + len(block) + len(stored))
        if stored[size:] != _padding(size):
            raise _damaged(name, position + len(block) + size)
        yield Member(member, stored[:size])
        position, first = position + len(block) + len(stored), False


def _read(file: IO[bytes], size: int, name: str) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror or error}") from error


def _parse(block: bytes, name: str, position: int, *, first: bool) -> int:
    """Return the size of the member that follows; only a header that we would have written is accepted."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        ours = _header(info.name, info.size) == block
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
        ours = False
    if first and (not ours or info.name != HEAD):
        raise Refused(f"{name} is not a fastocsp backup" if block else f"{name} is empty")
    if len(block) < _BLOCK:
        raise _cut(name, position + len(block))
    if not ours or info.size > (_MANIFEST_MAX if info.name == MANIFEST else _MEMBER_MAX):
        raise _damaged(name, position)
    return info.size


def is_sealed(member: Member, name: str) -> bool:
    """Return whether the archive of that first member is sealed. Refused for a format of a later fastocsp."""
    try:
        head = json.loads(member.content)
        made_by, number, sealed = str(head["product"]), int(head["format"]), bool(head.get("sealed"))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{name} is damaged: its first member cannot be read") from error
    if number > FORMAT:
        raise Refused(f"{name} has format {number}, made by {made_by}; this fastocsp reads {FORMAT}: upgrade it")
    return sealed


def read_manifest(
    manifest: Member, signature: Member, hashes: Mapping[str, tuple[int, str]], name: str, *, only: str | None = None
) -> Manifest:
    """Check the signature, and the manifest against what was read: {member: (size, sha256)}.

    Refused if they differ, or if the archive is signed by another key than `only`, unless that is None.
    """
    try:
        parts = json.loads(signature.content)
        key, holds = str(parts["key"]), bytes.fromhex(parts["signature"])
        if _signature(key, holds) != signature.content:
            raise ValueError("written in another way")
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{name} is damaged: its signature cannot be read") from error
    if not signature_holds(key, holds, manifest.content):
        raise Refused(f"{name} is damaged or was changed: the signature over its manifest does not hold")
    if only is not None and key != only:
        raise Refused(
            f"{name} is signed by {key}, not by {only}: it is of another installation. "
            f"Pass --key {key} if that is the key you kept"
        )
    fields = _fields_of(manifest, name)
    listed = {each: (row.get("size"), row.get("sha256")) for each, row in fields["members"].items()}
    for each, found in hashes.items():
        if listed.get(each) != found:
            raise Refused(f"{name} is damaged: {each} is not what the manifest says")
    if list(listed) != list(hashes):
        missing = sorted(listed.keys() - hashes.keys())
        raise Refused(f"{name} is damaged: {f'{missing[0]} is missing' if missing else 'its members changed places'}")
    return Manifest(fields, manifest.sha256, key)


#: What a manifest must have, and of which type, for a restore to go on without a look at the rest.
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("created", "product", "server"), str),
    **dict.fromkeys(("schema", "certificates"), int),
    **dict.fromkeys(("members", "migrations", "feed", "audit", "sequences", "crl_numbers", "logins", "edges"), dict),
    **dict.fromkeys(("tables", "keys", "not_included", "settings_left_out"), list),
    "settings": dict,
    "sealed": bool,
}
_ROWS: dict[str, dict[str, type]] = {
    "tables": {"name": str, "columns": list, "rows": int, "bytes": int},
    "keys": {"member": str, "path": str, "place": str, "form": str},
}


def _fields_of(manifest: Member, name: str) -> dict[str, Any]:
    """Return the fields of a manifest whose signature holds. Refused when it lacks any: another program made it."""
    try:
        fields = json.loads(manifest.content)
        lacking = [field for field, kind in _FIELDS.items() if not isinstance(fields.get(field), kind)]
        for table, columns in _ROWS.items():
            rows = fields.get(table) or []
            lacking += [table for row in rows for column, kind in columns.items() if not isinstance(row[column], kind)]
        datetime.fromisoformat(fields["created"])
        sum((fields["feed"]["generation"], fields["feed"]["seq"], fields["audit"]["seq"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        lacking = ["a readable form"]
    if lacking:
        raise Refused(f"{name} was made by another program: its manifest lacks {lacking[0]}")
    return dict(fields)


def inflated(stored: bytes, name: str) -> bytes:
    """Return what was deflated, at most PIECE bytes."""
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(stored, PIECE + 1)
    except zlib.error as error:
        raise Refused(f"{name} is damaged: a member cannot be decompressed") from error
    if len(content) > PIECE or not inflater.eof or inflater.unused_data:
        raise Refused(f"{name} is damaged: a member has not the size of a piece")
    return content


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, 0
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)


def _signature(key: str, signature: bytes) -> bytes:
    return _json({"key": key, "signature": signature.hex()})


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()


def _cut(name: str, size: int) -> Refused:
    return Refused(f"{name} is cut: it ends after {size} bytes, before its manifest and signature are complete")


def _damaged(name: str, position: int) -> Refused:
    return Refused(f"{name} is damaged near byte {position}")
