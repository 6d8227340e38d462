"""New logins leave a command once: as URLs on standard output, or in files that only their owner can read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cachewarm.config import owner_url
from cachewarm.console import say, show_rows
from responder.files import write_file
from responder.setting_fields import ConfigError

if TYPE_CHECKING:
    from cachewarm.ledger.logins import NewLogin

_NOWHERE = "postgresql://HOST:5432/fastocsp?sslmode=verify-full"


def print_sql(statements: Sequence[str]) -> None:
    """Print statements for psql."""
    for statement in statements:
        print(f"{statement};")  # noqa: T201


def hand_out(
    logins: "Sequence[NewLogin]",
    folder: Path | None,
    data_dir: Path | None,
    *,
    as_json: bool,
    to_standard_error: bool = False,
) -> None:
    """Show the URLs of new logins, or write each to FOLDER/LOGIN.url with mode 0600; they are kept nowhere else."""
    from cachewarm.ledger.logins import url_of

    try:
        base = owner_url(data_dir).get_secret_value()
    except ConfigError:
        base = _NOWHERE
    urls = {login.name: url_of(base, login.name, login.password) for login in logins}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, url in urls.items():
            write_file(folder / f"{name}.url", f"{url}\n".encode(), mode=0o600)
        rows = [{"login": name, "file": str(folder / f"{name}.url")} for name in urls]
    else:
        rows = [{"login": name, "url": url} for name, url in urls.items()]
    if to_standard_error:
        for row in rows:
            say("\t".join(row.values()))
    else:
        show_rows(rows, as_json=as_json, name="logins")
