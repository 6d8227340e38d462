-- Many rows per statement at less cost per row. What is written, and every hash, is the same as before.

-- Not STRICT, so that Postgres inlines it into the CHECK constraints that call it for every row; null stays null. A negative
-- number is as short as it can be (X.690 8.3.2): writers of CRLs refuse any other spelling, and one row would cost the CRL.
create or replace function is_serial_number(octets bytea) returns bool language sql immutable parallel safe as $$
  select case when octet_length(octets) between 2 and 21 and get_byte(octets, 0) = 0
              then get_byte(octets, 1) >= 128
                   and (octet_length(octets) = 2 or get_byte(octets, 1) < 255 or get_byte(octets, 2) < 128)
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

-- Certificates are looked up by arrays of serial numbers, an issuer at a time. A join of rows leaves it to estimates which
-- side drives it, and these are wrong while a table fills: 1,000 rows then meet every certificate of the issuer.
create or replace function revocations_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  one_each constant int := 1000;
  items bytea[];
  w mirror_writing;
  changed record;
begin
  perform revocations_refuse_times_ahead((select max(revoked_at) from newt));
  select array_agg(feed_item(1, i.issuer_no, n.serial_number, n.revoked_at, n.reason, n.invalidity_date)
                   order by n.issuer_id, n.serial_number) into items
    from newt n join issuers i using (issuer_id);
  if coalesce(cardinality(items), 0) <> (select count(*) from newt) then
    raise exception 'a revocation names an issuer that does not exist' using errcode = '23503';
  end if;
  perform feed_append(items);
  for changed in select n.issuer_id, array_agg(n.serial_number order by n.serial_number) as serials from newt n group by n.issuer_id loop
    update certificates c set status = 'revoked'
      where c.issuer_id = changed.issuer_id and c.serial_number = any(changed.serials) and c.status <> 'revoked';
  end loop;
  if cardinality(items) > one_each then
    select * into w from mirror_writing;
  end if;
  if w.issuer_id is not null then
    perform audit_append_rows(array[(w.actor, 'mirror', w.issuer_id, null, jsonb_build_object('login', session_user,
        'entries', cardinality(items), 'crl_number', w.crl_number, 'crl_sha256', encode(w.crl_sha256, 'hex'),
        'items_sha256', encode(sha256(x.octets), 'hex')))::audit_entry])
      from (select string_agg(u.item, ''::bytea order by u.o) as octets from unnest(items) with ordinality u(item, o)) x;
    return null;
  end if;
  perform audit_append_rows(array_agg(
      (n.revoked_by, 'revoke', n.issuer_id, n.serial_number, revocation_detail(n.revoked_at, n.reason, n.invalidity_date))::audit_entry
      order by n.issuer_id, n.serial_number)) from newt n;
  return null;
end $$;

-- Of many certificates that arrive few are revoked: those are looked up first, and no other row is written twice.
create or replace function certificates_settle(p_issuer_id text, p_serial_numbers bytea[]) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  update certificates c set status = 'revoked'
    where c.issuer_id = p_issuer_id and c.status <> 'revoked'
      and c.serial_number = any(array(select r.serial_number from certificate_revocations r
                                       where r.issuer_id = p_issuer_id and r.serial_number = any(p_serial_numbers))) $$;

create or replace function certificates_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare changed record;
begin
  for changed in select n.issuer_id, case when r.serial_number is null then 'good' else 'revoked' end as status,
                       array_agg(n.serial_number order by n.serial_number) as serials
                  from newt n left join certificate_revocations r using (issuer_id, serial_number)
                 where n.status <> case when r.serial_number is null then 'good' else 'revoked' end group by 1, 2 loop
    update certificates c set status = changed.status
      where c.issuer_id = changed.issuer_id and c.serial_number = any(changed.serials) and c.status <> changed.status;
  end loop;
  return null;
end $$;

create or replace function certificates_updated() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare changed record;
begin
  if exists (select issuer_id, serial_number from oldt except select issuer_id, serial_number from newt) then
    raise exception 'issuer_id and serial_number of a certificate never change' using errcode = '23001';
  end if;
  for changed in select n.issuer_id, n.status, array_agg(n.serial_number) as serials
                   from (select issuer_id, serial_number, status from newt except select issuer_id, serial_number, status from oldt) n
                  group by 1, 2 loop
    if (select count(*) from certificate_revocations r where r.issuer_id = changed.issuer_id and r.serial_number = any(changed.serials))
        <> (case changed.status when 'revoked' then cardinality(changed.serials) else 0 end) then
      raise exception 'certificates.status follows certificate_revocations: write there' using errcode = '23001';
    end if;
  end loop;
  for changed in select n.issuer_id, array_agg(n.serial_number) as serials
                   from (select issuer_id, serial_number, not_after from newt except select issuer_id, serial_number, not_after from oldt) n
                  group by 1 loop
    if exists (select from certificate_revocations r where r.issuer_id = changed.issuer_id and r.serial_number = any(changed.serials)) then
      raise exception 'not_after of a revoked certificate never changes' using errcode = '23001';
    end if;
  end loop;
  return null;
end $$;

create or replace function revocations_deleted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  refused text;
  changed record;
begin
  select format('%s of %s (reason %s)', encode(serial_number, 'hex'), issuer_id, reason) into refused
    from oldt where reason <> 6 and not is_expired(issuer_id, serial_number) limit 1;
  if found then
    raise exception 'certificate % stays revoked: only a certificateHold may be released, or a row purged after its certificate expired', refused
      using errcode = '23001';
  end if;
  for changed in select o.issuer_id, array_agg(o.serial_number order by o.serial_number) as serials from oldt o group by o.issuer_id loop
    update certificates c set status = 'good'      -- an expired certificate keeps saying what it was
      where c.issuer_id = changed.issuer_id and c.serial_number = any(changed.serials) and c.status <> 'good' and c.not_after > now();
  end loop;
  perform feed_append(array_agg(feed_item(case when gone.expired then 3 else 2 end, gone.issuer_no, gone.serial_number, null, null, null)
                                order by gone.issuer_id, gone.serial_number)),
          audit_append_rows(array_agg(
            (acting(), case when gone.expired then 'purge' else 'release' end, gone.issuer_id, gone.serial_number,
             revocation_detail(gone.revoked_at, gone.reason, gone.invalidity_date))::audit_entry
            order by gone.issuer_id, gone.serial_number))
    from (select o.*, i.issuer_no, is_expired(o.issuer_id, o.serial_number) as expired
            from oldt o join issuers i using (issuer_id)) gone;
  return null;
end $$;
