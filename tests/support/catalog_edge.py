"""An edge that only reads the catalog, over a connection that counts rows and can be made to break."""

from pathlib import Path
from typing import Any

from responder.clock import NS, Instant, read_clock
from responder.domain.catalog import Catalog
from responder.feed.catalog_reader import CatalogReader
from responder.feed.crl_files import CRLFiles


class Counted:
    """A connection that counts the rows which its queries return, and breaks at the query that has `fails_at`."""

    def __init__(self, connection: Any) -> None:
        self._connection, self.rows = connection, 0
        self.fails_at: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        """Pass the query on."""
        if self.fails_at is not None and self.fails_at in query:
            raise ConnectionResetError
        rows = await self._connection.fetch(query, *arguments)
        self.rows += len(rows)
        return rows


class Edge:
    """One reader with its connection, its last catalog and a clock that tests move."""

    def __init__(self, connection: Any, folder: Path) -> None:
        self.connection, self.late_s = Counted(connection), 0
        self.reader = CatalogReader(CRLFiles(folder), self._clock)
        self.catalog = Catalog()

    def _clock(self) -> Instant:
        now = read_clock()
        return now._replace(boot=now.boot + self.late_s * NS)

    async def look(self) -> int:
        """Read; return the number of rows that it took."""
        before = self.connection.rows
        connection: Any = self.connection
        self.catalog = await self.reader.read(connection, self.catalog)
        return self.connection.rows - before
