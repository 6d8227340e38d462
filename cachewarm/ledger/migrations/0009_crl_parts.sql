-- CRLs beside the complete one: deltas (RFC 5280 5.2.4) and shards (5.2.5). crl_cache stays what it was, the complete
-- CRL of each issuer; deleting any row of crl_parts or crl_bases is as safe as there: the next build makes it again.

alter table issuers
  add column delta_crl bool not null default false,
  add column crl_shards int not null default 0 check (crl_shards between 0 and 4096),
  add column crl_shards_at timestamptz not null default now(),          -- since when certificates name these shards
  add column crl_scope text not null default 'all' check (crl_scope in ('all', 'user', 'ca')),
  add constraint issuers_shards_have_a_url check (crl_url is not null or (crl_shards = 0 and not delta_crl));

create table crl_parts (
  issuer_id text not null references issuers,
  part text not null check (part = 'delta' or part ~ '^(0|[1-9][0-9]{0,3})$'),
  crl_number crl_number not null,
  base_number crl_number,
  crl_der bytea not null,
  this_update timestamptz not null,
  next_update timestamptz not null,
  generated_at timestamptz not null default now(),
  revoked_count bigint not null,
  primary key (issuer_id, part),
  check ((part = 'delta') = (base_number is not null))
);
alter table crl_parts alter column crl_der set storage external;

-- Complete CRLs that a delta may be based on: what the revoked set was then. change_no is that of the last change seen,
-- expired_before what was left out as expired; sysid, tli and generation name the ledger's life, as a restored copy has
-- lost changes.
create table crl_bases (
  issuer_id text not null references issuers,
  crl_number crl_number not null,
  this_update timestamptz not null,
  change_no bigint not null,
  expired_before timestamptz not null,
  sysid bigint not null,
  tli text not null,
  generation bigint not null,
  primary key (issuer_id, crl_number)
);

-- Every change of the revoked set since the oldest base, for issuers with deltas. Writers hold the ledger's lock until
-- they commit (revocations_lock), so a reader that sees one change_no sees all that are lower.
create table crl_changes (
  change_no bigint generated always as identity,
  issuer_id text not null references issuers,
  serial_number bytea not null,
  revoked_at timestamptz not null,
  primary key (issuer_id, change_no)
);

create function crl_changes_noted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into crl_changes (issuer_id, serial_number, revoked_at)
    select t.issuer_id, t.serial_number, t.revoked_at from changed t join issuers i using (issuer_id) where i.delta_crl;
  return null;
end $$;
create trigger crl_inserted after insert on certificate_revocations
  referencing new table as changed for each statement execute function crl_changes_noted();
create trigger crl_updated after update on certificate_revocations
  referencing new table as changed for each statement execute function crl_changes_noted();
create trigger crl_deleted after delete on certificate_revocations
  referencing old table as changed for each statement execute function crl_changes_noted();
alter table certificate_revocations enable always trigger crl_inserted;
alter table certificate_revocations enable always trigger crl_updated;
alter table certificate_revocations enable always trigger crl_deleted;

-- What the oldest base has seen is not asked for again.
create function crl_changes_forget(p_issuer_id text, p_change_no bigint) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  delete from crl_changes where issuer_id = p_issuer_id and change_no <= p_change_no
    and change_no <= coalesce((select min(b.change_no) from crl_bases b where b.issuer_id = p_issuer_id), p_change_no) $$;

-- A certificate's distribution point is its shard's URL for as long as it lives: number and URL of the shards stay as
-- long as a live certificate may name them. Deltas begin with nobody in the middle of a change.
create function issuers_keep_their_shards() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  live bigint;
  ends timestamptz;
begin
  if new.delta_crl is distinct from old.delta_crl then      -- changes were not noted all the time
    perform ledger_lock();
    delete from crl_bases where issuer_id = old.issuer_id;
    delete from crl_changes where issuer_id = old.issuer_id;
  end if;
  if (new.crl_shards, new.crl_url) is not distinct from (old.crl_shards, old.crl_url) then return new; end if;
  if old.crl_shards > 0 then
    select count(*), max(not_after) into live, ends from certificates c
      where c.issuer_id = old.issuer_id and c.not_after > now() and c.created_at >= old.crl_shards_at;
    if live > 0 then
      raise exception '% live certificates of % name the URLs of its % shards, the last one until %: keep the shards until '
        'then; to have others at once, make another issuer with them, issue from that one, and change this one when its '
        'last certificate has ended', live, old.issuer_id, old.crl_shards, to_char(ends at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        using errcode = '23001';
    end if;
  end if;
  new.crl_shards_at := now();
  return new;
end $$;
create trigger issuers_shards before update on issuers for each row execute function issuers_keep_their_shards();
alter table issuers enable always trigger issuers_shards;

alter table crl_generation_events
  add column kind text not null default 'complete' check (kind in ('complete', 'delta'));

-- For the edge's metrics: builds that failed since the last good one.
create view crl_failures as
  select i.issuer_id, count(e.id) as failed from issuers i
    left join crl_generation_events e on e.issuer_id = i.issuer_id and not e.succeeded and e.id > coalesce(
      (select max(g.id) from crl_generation_events g where g.issuer_id = i.issuer_id and g.succeeded), 0)
    group by i.issuer_id;

-- Which life of the ledger this is: another server or timeline, or another generation that a restore began (0008).
create function crl_epoch(out sysid bigint, out tli text, out generation bigint) language sql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
  select e.sysid, e.tli, h.generation from feed_epoch() e, feed_head h $$;

-- A restored or promoted copy may have lost numbers that were used: it goes on far above them.
alter table crl_numbers add column sysid bigint, add column tli text, add column generation bigint;
create or replace function next_crl_number(p_issuer_id text) returns numeric language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare number numeric;
begin
  perform raise_crl_number(p_issuer_id, greatest(0,
    (select max(c.crl_number) from crl_cache c where c.issuer_id = p_issuer_id),
    (select max(c.crl_number) from crl_parts c where c.issuer_id = p_issuer_id),
    (select max(e.crl_number) from crl_generation_events e where e.issuer_id = p_issuer_id)));
  update crl_numbers n set sysid = e.sysid, tli = e.tli, generation = e.generation,
      last = n.last + case when n.sysid is null or (n.sysid, n.tli, n.generation) = (e.sysid, e.tli, e.generation)
                      then 1 else 1048576 end
    from crl_epoch() e where n.issuer_id = p_issuer_id returning n.last into strict number;
  return number;
end $$;

revoke all on function crl_changes_forget, crl_changes_noted, issuers_keep_their_shards, crl_epoch from public;
grant select on crl_parts, crl_failures to fastocsp_reader, fastocsp_writer;
grant insert, update, delete on crl_parts to fastocsp_writer;
grant select, insert, update, delete on crl_bases to fastocsp_writer;
grant select on crl_changes to fastocsp_writer;
grant execute on function crl_changes_forget to fastocsp_writer;
grant execute on function crl_epoch to fastocsp_writer;
