"""The codec: octets, integers and times in, octets and integers out. No I/O, no clock."""
