-- Many rows per statement at less cost per row. What is written, and every hash, is the same as before.

-- Not STRICT, so that Postgres inlines it into the CHECK constraints that call it for every row; null stays null.
create or replace function is_serial_number(octets bytea) returns bool language sql immutable parallel safe as $$
  select case when octet_length(octets) between 2 and 21 and get_byte(octets, 0) = 0 then get_byte(octets, 1) >= 128
              else octet_length(octets) between 1 and 20 end $$;

-- clock_timestamp(), as in the function: now() is the start of the statement, after which every row's own time is.
drop trigger revocations_clamped on certificate_revocations;
drop trigger revocations_clamped_again on certificate_revocations;
create trigger revocations_clamped before insert on certificate_revocations
  for each row when (new.revoked_at > clock_timestamp()) execute function revocations_clamp();
create trigger revocations_clamped_again before update of revoked_at on certificate_revocations
  for each row when (new.revoked_at > clock_timestamp() and old.stated_time is null) execute function revocations_clamp();
alter table certificate_revocations enable always trigger revocations_clamped;
alter table certificate_revocations enable always trigger revocations_clamped_again;

-- As in 0003, but only the chain itself is a loop: what each hash covers besides the one before is put together by one
-- query, and all rows are written by one INSERT. audit_verify, which calls audit_hash for each row, is the check of this.
create or replace function audit_append_rows(entries audit_entry[]) returns bigint language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  s bigint;
  h bytea;
  before bytea;
  covered bytea[];
  one bytea;
  hashes bytea[] := '{}';
  t timestamptz;
begin
  if coalesce(cardinality(entries), 0) = 0 then return null; end if;
  perform ledger_lock();
  t := clock_timestamp();
  select seq, hash into strict s, before from audit_head;
  select array_agg(int8send(s + e.n) || int8send((extract(epoch from t) * 1000000)::int8)
      || audit_field(convert_to(e.actor, 'UTF8')) || audit_field(convert_to(e.action, 'UTF8'))
      || audit_field(convert_to(e.issuer_id, 'UTF8')) || audit_field(e.serial_number)
      || audit_field(convert_to(e.detail::text, 'UTF8')) order by e.n) into strict covered
    from unnest(entries) with ordinality e(actor, action, issuer_id, serial_number, detail, n);
  h := before;
  foreach one in array covered loop
    h := sha256(h || one);
    hashes := hashes || h;
  end loop;
  insert into audit_events (seq, at, actor, action, issuer_id, serial_number, detail, prev_hash, hash)
    select s + e.n, t, e.actor, e.action, e.issuer_id, e.serial_number, e.detail,
           lag(e.hash, 1, before) over (order by e.n), e.hash
      from rows from (unnest(entries), unnest(hashes)) with ordinality e(actor, action, issuer_id, serial_number, detail, hash, n);
  s := s + cardinality(entries);
  update audit_head set seq = s, hash = h;
  return s;
end $$;
