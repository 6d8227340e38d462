"""Serial numbers: keys inside, lower-case hex outside.

The key of a serial number is its magnitude, big-endian, without leading zero bytes (the number 0 is one byte 00), 1 to
20 bytes (RFC 5280 4.1.2.2). A negative number, which the RFC forbids and some CAs issue, is one byte 00 and the content
of its DER INTEGER (`_fastocsp/wire/serial.pxd`), so that it never equals the key of another number. Outside it is
lower-case hex with an even number of digits and no `0x`, with a minus sign in front of a negative number.
"""

MAX_BYTES = 20


def parse_serial(text: str) -> bytes:
    """Return the key of a serial number that a person wrote.

    Colons, spaces, `0x`, capitals and odd lengths are accepted. Raises ValueError for anything that is not a hex number
    of 1 to 20 bytes, with or without a minus sign.
    """
    written = text.strip().lower()
    digits = written.removeprefix("-").removeprefix("0x").replace(":", "").replace(" ", "")
    if not digits or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"not a hexadecimal serial number: {text!r}")
    number = int(digits, 16)
    return serial_octets(-number if written.startswith("-") else number)


def serial_octets(number: int) -> bytes:
    """Return the key of a serial number; ValueError when it has more than 20 bytes."""
    if number < 0:
        content = number.to_bytes((number + 1).bit_length() // 8 + 1, "big", signed=True)
        key = b"\0" + content
    else:
        key = content = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    if len(content) > MAX_BYTES:
        raise ValueError(f"a serial number has at most {MAX_BYTES} bytes, this one has {len(content)}")
    return key


def serial_number(key: bytes) -> int:
    """Return the number of that key."""
    return int.from_bytes(key, "big") if not is_negative(key) else int.from_bytes(key[1:], "big", signed=True)


def serial_hex(key: bytes) -> str:
    """Return the one printed form."""
    if not is_negative(key):
        return key.hex()
    return "-" + serial_octets(-serial_number(key)).hex()


def is_negative(key: bytes) -> bool:
    """Return whether it is the key of a negative number."""
    return len(key) > 1 and key[0] == 0
