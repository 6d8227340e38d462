"""SoftHSM as the token: a store of its own, tokens by label, and the URIs of keys in them."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

PIN, SO_PIN = "1234", "567890"
MODULES = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib64/pkcs11/libsofthsm2.so"))


class SoftHSM:
    """A store in a folder. The library reads SOFTHSM2_CONF when it is loaded: one store per process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tokens = folder, folder / "tokens"
        self.tokens.mkdir(parents=True)
        self.conf = folder / "softhsm2.conf"
        self.conf.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.pin_file = folder / "pin"
        self.pin_file.write_text(PIN + "\n")
        found = [path for path in MODULES if path.exists()]
        assert found, "apt-get install softhsm2"
        self.module = found[0]

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to find the store."""
        return {"SOFTHSM2_CONF": str(self.conf)}

    def add_token(self, label: str) -> None:
        """Make a token."""
        words = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN]
        assert shutil.which("softhsm2-util"), "apt-get install softhsm2"
        subprocess.run(["softhsm2-util", *words], env=os.environ | self.environ, check=True, capture_output=True)

    def uri(self, token: str, label: str) -> str:
        """Return the URI of a key in it."""
        query = f"module-path={self.module}&pin-source=file:{self.pin_file}"
        return f"pkcs11:token={quote(token)};object={quote(label)}?{query}"
