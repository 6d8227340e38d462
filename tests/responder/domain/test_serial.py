"""Serial numbers as people write them, and their keys."""

import pytest

from responder.domain.serial import parse_serial, serial_hex, serial_number, serial_octets

NUMBERS = [0, 1, 127, 128, 255, 256, (1 << 160) - 1, -1, -2, -128, -129, -255, -256, -(1 << 159)]


@pytest.mark.parametrize("number", NUMBERS)
def test_key_of_a_number_is_read_back(number: int) -> None:
    """By its key and by its printed form."""
    key = serial_octets(number)
    assert serial_number(key) == number
    assert parse_serial(serial_hex(key)) == key


def test_keys_of_two_numbers_differ() -> None:
    """-1 is FF as an INTEGER, 255 is FF as a magnitude."""
    assert len({serial_octets(number) for number in NUMBERS}) == len(NUMBERS)


@pytest.mark.parametrize(
    ("text", "number"), [("00ff", 255), ("-01", -1), ("-1", -1), ("-0x80", -128), (" -AB:CD ", -0xABCD), ("ff", 255)]
)
def test_written_serial_is_read(text: str, number: int) -> None:
    """As openssl prints them."""
    assert serial_number(parse_serial(text)) == number


@pytest.mark.parametrize("text", ["", "-", "--1", "1-", "0x", "g", "1" * 41, "-" + "8" * 40])
def test_text_that_is_no_serial_is_refused(text: str) -> None:
    """Over 20 bytes as well: -88..88 has 21."""
    with pytest.raises(ValueError, match="serial"):
        parse_serial(text)
