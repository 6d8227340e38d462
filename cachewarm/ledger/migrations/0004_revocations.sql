-- The revoked set. A row = revoked. Whoever writes it - API, command line, plain SQL - the triggers put the event in
-- the feed, the status on the certificate and a row in the audit chain, all in the same transaction, or none of it.
--
-- There is no reference to certificates: a mirrored CRL names certificates that nobody here ever saw. Nothing is ever
-- un-revoked but a hold (RFC 5280 5.3.1); a row may leave once its certificate has expired.
--
-- The plan of a trigger's query is made once per session, for as many rows as the first statement had. So that a plan
-- made for one row does not meet 5,000 (measured: 3 s instead of 0.1 s), nor one made for 5,000 read whole tables for
-- one: old and new rows are compared by EXCEPT, never joined, and tables are only ever reached through their index.

create table certificate_revocations (
  issuer_id text not null references issuers,
  serial_number bytea not null check (is_serial_number(serial_number)),
  revoked_at timestamptz not null default now()
    check (revoked_at >= timestamptz '1970-01-01 00:00:00+00' and revoked_at < timestamptz '9999-12-31 00:00:00+00'),
  reason smallint not null default 0 check (reason in (0, 1, 2, 3, 4, 5, 6, 9, 10)),
  invalidity_date timestamptz
    check (invalidity_date > timestamptz '1970-01-01 00:00:00+00' and invalidity_date < timestamptz '9999-12-31 00:00:00+00'),
  revoked_by text not null default current_user,
  created_at timestamptz not null default now(),
  primary key (issuer_id, serial_number)
);

create function is_expired(p_issuer_id text, p_serial_number bytea) returns bool language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select exists (select from certificates c
                 where c.issuer_id = p_issuer_id and c.serial_number = p_serial_number and c.not_after <= now()) $$;

-- Who does it: what the API put into fastocsp.actor for this transaction, else the login.
create function acting() returns text language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select coalesce(nullif(current_setting('fastocsp.actor', true), ''), session_user::text) $$;

-- Taken before the first row is touched: two writers cannot each hold what the other one waits for.
create function revocations_lock() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ledger_lock();
  return null;
end $$;

create function revocations_refuse_times_ahead(latest timestamptz) returns void language plpgsql as $$
begin
  if latest > clock_timestamp() + interval '60 seconds' then
    raise exception 'revoked_at % lies more than 60 s ahead', latest using errcode = '23514';
  end if;
end $$;

create function revocations_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare items bytea[];
begin
  perform revocations_refuse_times_ahead((select max(revoked_at) from newt));
  select array_agg(feed_item(1, i.issuer_no, n.serial_number, n.revoked_at, n.reason, n.invalidity_date)
                   order by n.issuer_id, n.serial_number) into items
    from newt n join issuers i using (issuer_id);
  if coalesce(cardinality(items), 0) <> (select count(*) from newt) then
    raise exception 'a revocation names an issuer that does not exist' using errcode = '23503';
  end if;
  perform feed_append(items);
  update certificates c set status = 'revoked' from newt n
    where (c.issuer_id, c.serial_number) = (n.issuer_id, n.serial_number) and c.status <> 'revoked';
  perform audit_append_rows(array_agg(
      (n.revoked_by, 'revoke', n.issuer_id, n.serial_number, revocation_detail(n.revoked_at, n.reason, n.invalidity_date))::audit_entry
      order by n.issuer_id, n.serial_number)) from newt n;
  return null;
end $$;

create function revocations_updated() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  if exists (select issuer_id, serial_number from oldt except select issuer_id, serial_number from newt) then
    raise exception 'issuer_id and serial_number of a revocation never change' using errcode = '23001';
  end if;
  if exists (select issuer_id, serial_number from newt where reason = 6
             except select issuer_id, serial_number from oldt where reason = 6) then
    raise exception 'a revocation never becomes a certificateHold: that would be the way to undo it' using errcode = '23001';
  end if;
  perform revocations_refuse_times_ahead(max(n.revoked_at)),
          feed_append(array_agg(feed_item(1, i.issuer_no, n.serial_number, n.revoked_at, n.reason, n.invalidity_date)
                                order by n.issuer_id, n.serial_number)),
          audit_append_rows(array_agg(
            (acting(), 'amend', n.issuer_id, n.serial_number, revocation_detail(n.revoked_at, n.reason, n.invalidity_date))::audit_entry
            order by n.issuer_id, n.serial_number))
    from (select issuer_id, serial_number, revoked_at, reason, invalidity_date from newt
          except select issuer_id, serial_number, revoked_at, reason, invalidity_date from oldt) n join issuers i using (issuer_id);
  return null;
end $$;

create function revocations_deleted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare refused text;
begin
  select format('%s of %s (reason %s)', encode(serial_number, 'hex'), issuer_id, reason) into refused
    from oldt where reason <> 6 and not is_expired(issuer_id, serial_number) limit 1;
  if found then
    raise exception 'certificate % stays revoked: only a certificateHold may be released, or a row purged after its certificate expired', refused
      using errcode = '23001';
  end if;
  update certificates c set status = 'good' from oldt o      -- an expired certificate keeps saying what it was
    where (c.issuer_id, c.serial_number) = (o.issuer_id, o.serial_number) and c.status <> 'good' and c.not_after > now();
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

create trigger revocations_lock before insert or update or delete on certificate_revocations
  for each statement execute function revocations_lock();
create trigger revocations_inserted after insert on certificate_revocations
  referencing new table as newt for each statement execute function revocations_inserted();
create trigger revocations_updated after update on certificate_revocations
  referencing old table as oldt new table as newt for each statement execute function revocations_updated();
create trigger revocations_deleted after delete on certificate_revocations
  referencing old table as oldt for each statement execute function revocations_deleted();
create trigger revocations_truncated before truncate on certificate_revocations
  for each statement execute function refuse_statement();
alter table certificate_revocations enable always trigger revocations_lock;
alter table certificate_revocations enable always trigger revocations_inserted;
alter table certificate_revocations enable always trigger revocations_updated;
alter table certificate_revocations enable always trigger revocations_deleted;
alter table certificate_revocations enable always trigger revocations_truncated;

-- The certificates' side: status follows the revoked set, and what is revoked keeps its key, its end and its row.

-- A certificate that arrives after its revocation (a mirrored CRL came first). Two transactions that cannot see each
-- other yet leave 'good' behind: certificates_settle, called again after the commit, mends that.
create function certificates_settle(p_issuer_id text, p_serial_numbers bytea[]) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  update certificates c set status = 'revoked' from certificate_revocations r
    where c.issuer_id = p_issuer_id and c.serial_number = any(p_serial_numbers) and c.status <> 'revoked'
      and (r.issuer_id, r.serial_number) = (c.issuer_id, c.serial_number) $$;

create function certificates_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  update certificates c set status = case when r.serial_number is null then 'good' else 'revoked' end
    from newt n left join certificate_revocations r using (issuer_id, serial_number)
    where (c.issuer_id, c.serial_number) = (n.issuer_id, n.serial_number)
      and c.status <> case when r.serial_number is null then 'good' else 'revoked' end;
  return null;
end $$;

create function certificates_updated() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  if exists (select issuer_id, serial_number from oldt except select issuer_id, serial_number from newt) then
    raise exception 'issuer_id and serial_number of a certificate never change' using errcode = '23001';
  end if;
  if exists (select from (select issuer_id, serial_number, status from newt
                          except select issuer_id, serial_number, status from oldt) changed
             left join certificate_revocations r using (issuer_id, serial_number)
             where changed.status <> case when r.serial_number is null then 'good' else 'revoked' end) then
    raise exception 'certificates.status follows certificate_revocations: write there' using errcode = '23001';
  end if;
  if exists (select from (select issuer_id, serial_number, not_after from newt
                          except select issuer_id, serial_number, not_after from oldt) changed
             join certificate_revocations r using (issuer_id, serial_number)) then
    raise exception 'not_after of a revoked certificate never changes' using errcode = '23001';
  end if;
  return null;
end $$;

-- With an expired certificate goes its revocation: without the certificate nobody could tell that it has expired.
create function certificates_deleted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if exists (select from certificate_revocations r
             where (r.issuer_id, r.serial_number) = (old.issuer_id, old.serial_number)) then
    if old.not_after > now() then
      raise exception 'certificate % of % is revoked and has not expired: it cannot be deleted',
        encode(old.serial_number, 'hex'), old.issuer_id using errcode = '23001';
    end if;
    delete from certificate_revocations r where (r.issuer_id, r.serial_number) = (old.issuer_id, old.serial_number);
  end if;
  return old;
end $$;

create trigger certificates_inserted after insert on certificates
  referencing new table as newt for each statement execute function certificates_inserted();
create trigger certificates_updated after update on certificates
  referencing old table as oldt new table as newt for each statement execute function certificates_updated();
create trigger certificates_deleted before delete on certificates
  for each row execute function certificates_deleted();
create trigger certificates_truncated before truncate on certificates
  for each statement execute function refuse_statement();
alter table certificates enable always trigger certificates_inserted;
alter table certificates enable always trigger certificates_updated;
alter table certificates enable always trigger certificates_deleted;
alter table certificates enable always trigger certificates_truncated;
