"""Serial numbers: the magnitude's octets inside, lower-case hex outside.

Inside, a serial number is its magnitude, big-endian, without leading zero octets (the number 0 is one octet 00),
1 to 20 octets (RFC 5280 4.1.2.2). Outside it is lower-case hex with an even number of digits and no `0x`.
"""

MAX_OCTETS = 20


def parse_serial(text: str) -> bytes:
    """Octets of a serial number that a person wrote: colons, spaces, `0x`, capitals and odd lengths are taken.

    Raises ValueError for anything that is not a hex number of 1 to 20 octets.
    """
    digits = text.strip().lower().removeprefix("0x").replace(":", "").replace(" ", "")
    if not digits or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"not a hexadecimal serial number: {text!r}")
    return serial_octets(int(digits, 16))


def serial_octets(number: int) -> bytes:
    """Magnitude octets of a serial number; ValueError when negative or over 20 octets."""
    if number < 0:
        raise ValueError("a serial number is not negative")
    octets = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    if len(octets) > MAX_OCTETS:
        raise ValueError(f"a serial number has at most {MAX_OCTETS} octets, this one has {len(octets)}")
    return octets


def serial_hex(octets: bytes) -> str:
    """The one printed form."""
    return octets.hex()
