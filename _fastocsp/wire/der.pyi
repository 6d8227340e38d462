"""Python's view of the bounded cursor, for tests and for code off the hot path."""

def read_elements(octets: bytes) -> list[tuple[int, bytes]]:
    """The DER elements that stand one after the other in `octets`, as (identifier byte, content bytes).

    Constructed elements are not opened. Raises WireError for indefinite or over-long lengths, tag numbers above 30,
    and elements that run past the end (X.690 8.1, 10.1).
    """
