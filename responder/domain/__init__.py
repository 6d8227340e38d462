"""What the field calls things: statuses, serial numbers, issuers, windows. Pure values, no I/O, no clock."""
