"""The codec: bytes, integers and times in, bytes and integers out. No I/O, no clock."""
