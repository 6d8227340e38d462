"""Times on the wire. Arguments are epoch seconds, 0..2**32-1; OverflowError outside."""

def generalized_time(seconds: int) -> bytes:
    """The GeneralizedTime element, 17 bytes: 18 0F YYYYMMDDHHMMSSZ (RFC 5280 4.1.2.5.2)."""

def imf_fixdate(seconds: int) -> str:
    """The IMF-fixdate, 29 characters, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7)."""
