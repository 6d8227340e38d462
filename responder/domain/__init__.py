"""Terms of the field: statuses, serial numbers, issuers, windows. Pure values, no I/O, no clock."""
