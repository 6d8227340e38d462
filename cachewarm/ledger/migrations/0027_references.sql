-- Certificates and revocations refer to their issuer by the statement, not by the row: a foreign key asks for every row of
-- a thousand of the same issuer whether it exists, which is a fifth of the work of entering one. What holds is the same: no
-- row without its issuer, and no issuer deleted while it has rows (23503); an issuer_id never changes (0001, 0004).

-- The lock is that of a foreign key: a transaction that deletes the issuer waits for this one.
create function issuer_referenced(p_issuer_id text) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform from issuers where issuer_id = p_issuer_id for key share;
  if not found then
    raise exception 'there is no issuer %', p_issuer_id using errcode = '23503';
  end if;
end $$;

-- In a transaction with one snapshot the queries below do not see what was entered after it began, as a foreign key does.
create function issuers_deleted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'issuers are deleted in READ COMMITTED transactions alone, not in %',
      upper(current_setting('transaction_isolation')) using errcode = '25001';
  end if;
  if exists (select from certificates c where c.issuer_id = old.issuer_id)
     or exists (select from certificate_revocations r where r.issuer_id = old.issuer_id) then
    raise exception 'issuer % has certificates or revocations', old.issuer_id using errcode = '23503';
  end if;
  return null;
end $$;
create trigger issuers_deleted after delete on issuers for each row execute function issuers_deleted();
create trigger issuers_truncated before truncate on issuers for each statement execute function refuse_statement();
alter table issuers enable always trigger issuers_deleted, enable always trigger issuers_truncated;

-- As before, but each issuer is looked for once, and of many certificates that arrive the few that are revoked are looked up
-- by one array, which the index is read for in its order.
create or replace function certificates_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  arrived record;
  revoked bytea[];
begin
  for arrived in select n.issuer_id, array_agg(n.serial_number order by n.serial_number) as serials,
                        bool_or(n.status <> 'good') as has_status
                   from newt n group by n.issuer_id loop
    perform issuer_referenced(arrived.issuer_id);
    revoked := array(select r.serial_number from certificate_revocations r
                      where r.issuer_id = arrived.issuer_id and r.serial_number = any(arrived.serials));
    if cardinality(revoked) > 0 then
      update certificates c set status = 'revoked'
        where c.issuer_id = arrived.issuer_id and c.serial_number = any(revoked) and c.status <> 'revoked';
    end if;
    if arrived.has_status then
      update certificates c set status = 'good'
        where c.issuer_id = arrived.issuer_id and c.serial_number = any(arrived.serials) and c.status <> 'good'
          and not exists (select from certificate_revocations r
                           where (r.issuer_id, r.serial_number) = (c.issuer_id, c.serial_number));
    end if;
  end loop;
  return null;
end $$;

create or replace function revocations_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  one_each constant int := 1000;
  items bytea[];
  w mirror_writing;
  changed record;
  detail jsonb;
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
    perform issuer_referenced(changed.issuer_id);
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
  -- Of many that are revoked at once the detail is the same.
  select revocation_detail(min(revoked_at), min(reason), min(invalidity_date)) into detail from newt
    having min(revoked_at) = max(revoked_at) and min(reason) = max(reason)
       and min(invalidity_date) is not distinct from max(invalidity_date) and count(invalidity_date) in (0, count(*));
  perform audit_append_rows(array_agg(
      (n.revoked_by, 'revoke', n.issuer_id, n.serial_number,
       coalesce(detail, revocation_detail(n.revoked_at, n.reason, n.invalidity_date)))::audit_entry
      order by n.issuer_id, n.serial_number)) from newt n;
  return null;
end $$;

do $$
declare foreign_key record;
begin
  for foreign_key in
    select k.conrelid::regclass as tab, k.conname as name from pg_constraint k
     where k.contype = 'f' and k.confrelid = 'issuers'::regclass
       and k.conrelid in ('certificates'::regclass, 'certificate_revocations'::regclass) loop
    execute format('alter table %s drop constraint %I', foreign_key.tab, foreign_key.name);
  end loop;
end $$;

revoke all on function issuer_referenced, issuers_deleted from public;
