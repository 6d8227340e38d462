-- CRLs of other CAs: taken from their source, served on as they are, and the source of their certificates' status.
--
-- An import is one transaction: entries, CRL, window. A certificate that is not in the revoked set may be called good
-- only within the window of a mirrored CRL, and only by who has heard the feed up to where that CRL's entries are.

alter table issuers
  add column crl_source text check (crl_source ~ '^(https?|file)://'),
  add column delta_source text check (delta_source ~ '^(https?|file)://'),
  add constraint issuers_mirror_or_make check (crl_source is null or (crl_shards = 0 and not delta_crl)),
  add constraint issuers_deltas_have_a_crl check (delta_source is null or crl_source is not null);

-- A row stands for an issuer whose status comes from CRLs, before the first one too: without a window nobody is called
-- good. It remembers the numbers that were seen, and when the source was last asked. The window before the last one is
-- for those who have not heard the last one's entries yet.
create table crl_mirrors (
  issuer_id text primary key references issuers,
  crl_number crl_number,
  crl_sha256 bytea,
  this_update timestamptz,
  next_update timestamptz,
  entries bigint,
  etag text,
  last_modified text,
  delta_url text,                               -- freshestCRL of the complete one (RFC 5280 5.2.6)
  delta_number crl_number,
  delta_sha256 bytea,
  delta_this_update timestamptz,
  delta_next_update timestamptz,
  good_from timestamptz,
  good_until timestamptz,
  generation bigint,
  seq bigint,
  former_from timestamptz,
  former_until timestamptz,
  former_generation bigint,
  former_seq bigint,
  kept_live bigint not null default 0,          -- gone from the CRL, certificate still valid: the CA broke RFC 5280 3.3
  kept_unknown bigint not null default 0,       -- gone from the CRL, end of the certificate unknown
  tried_at timestamptz,
  failures int not null default 0,
  check ((good_from is null) = (good_until is null) and (good_from is null) = (seq is null))
);

create function issuers_are_mirrored() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.crl_source is not null then      -- another source is asked at once, and in whole
    insert into crl_mirrors (issuer_id) values (new.issuer_id)
      on conflict (issuer_id) do update set etag = null, last_modified = null, tried_at = null;
  end if;
  return null;
end $$;
create trigger issuers_mirrored after insert or update of crl_source, delta_source on issuers
  for each row execute function issuers_are_mirrored();
alter table issuers enable always trigger issuers_mirrored;

alter table crl_generation_events
  add column fault text,
  drop constraint crl_generation_events_kind_check,
  add constraint crl_generation_events_kind_check check (kind in ('complete', 'delta', 'mirror'));

-- For the edge's metrics: by what the source's last fetches failed.
create view crl_fetch_failures as
  select e.issuer_id, e.fault, count(*) as failed from crl_generation_events e
    where e.kind = 'mirror' and not e.succeeded and e.fault is not null and e.id > coalesce(
      (select max(g.id) from crl_generation_events g
        where g.issuer_id = e.issuer_id and g.kind = 'mirror' and g.succeeded), 0)
    group by e.issuer_id, e.fault;

-- A row is here while mirror_revoke runs, in its own transaction alone, and says on whose word.
create unlogged table mirror_writing (
  actor text not null,
  issuer_id text not null,
  crl_number crl_number not null,
  crl_sha256 bytea not null
);

-- As in 0004, but for the audit chain of a large import: one row for a statement instead of one for each certificate.
-- It names the CRL, which its CA signed, how many entries came and the hash of what the feed says of them.
create or replace function revocations_inserted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  one_each constant int := 1000;
  items bytea[];
  w mirror_writing;
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

-- Entries of a mirrored CRL become revocations; what is there already is changed to what the CRL says, but never to a
-- hold. How many changed. Called for a few thousand at a time, all within one transaction of the caller.
create function mirror_revoke(p_actor text, p_issuer_id text, p_crl_number numeric, p_crl_sha256 bytea, p_serials bytea[],
                              p_revoked_at timestamptz[], p_reasons smallint[], p_invalidity_dates timestamptz[])
  returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare n bigint;
begin
  perform from issuers where issuer_id = p_issuer_id and crl_source is not null;
  if not found then
    raise exception '% has no CRL source: nothing is mirrored', p_issuer_id using errcode = '23514';
  end if;
  perform set_config('fastocsp.actor', p_actor, true);
  insert into mirror_writing values (p_actor, p_issuer_id, p_crl_number, p_crl_sha256);
  insert into certificate_revocations as r (issuer_id, serial_number, revoked_at, reason, invalidity_date, revoked_by)
    select p_issuer_id, u.s, u.t, u.reason, u.i, p_actor
      from unnest(p_serials, p_revoked_at, p_reasons, p_invalidity_dates) u(s, t, reason, i)
    on conflict (issuer_id, serial_number) do update
      set revoked_at = excluded.revoked_at, reason = excluded.reason, invalidity_date = excluded.invalidity_date
      where (r.revoked_at, r.reason, r.invalidity_date)
            is distinct from (excluded.revoked_at, excluded.reason, excluded.invalidity_date)
        and not (excluded.reason = 6 and r.reason <> 6);
  get diagnostics n = row_count;
  delete from mirror_writing;
  return n;
end $$;

revoke all on function issuers_are_mirrored, mirror_revoke from public;
revoke all on table mirror_writing from public;
grant execute on function mirror_revoke to fastocsp_writer;
grant select on crl_mirrors, crl_fetch_failures to fastocsp_reader, fastocsp_writer;
grant update on crl_mirrors to fastocsp_writer;
