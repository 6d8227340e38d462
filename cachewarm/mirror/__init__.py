"""CRLs of other CAs: fetched, judged, taken into the ledger in one transaction each, served on as they are."""
