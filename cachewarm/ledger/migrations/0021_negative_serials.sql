-- Negative serial numbers, which some CAs issue, have a key of their own: one byte 00 and the content of the INTEGER, at
-- most 20 bytes, whose first bit is set. No magnitude of two bytes or more begins with 00, so -1 and 255 differ.
create or replace function is_serial_number(octets bytea) returns bool language sql immutable strict parallel safe as $$
  select case when octet_length(octets) between 2 and 21 and get_byte(octets, 0) = 0 then get_byte(octets, 1) >= 128
              else octet_length(octets) between 1 and 20 end $$;
