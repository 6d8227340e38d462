-- How many certificates of each issuer have not expired, without counting them, and how the warmers are.
--
-- Writers of certificates append what they changed, so no two of them meet in one row: one row for each statement, issuer
-- and slot of expiry, which is four hours. A warmer folds the changes into buckets and totals. What is not folded yet is
-- added when the number is read, so the number is exact to the slot, whether a warmer runs or not.

create table certificate_counts (
  expires_slot bigint not null,         -- four-hour slots since 1970: not_after is in this one
  issuer_id text not null,
  n bigint not null,
  primary key (expires_slot, issuer_id)
) with (fillfactor = 70);

create table certificate_totals (
  issuer_id text primary key,           -- the sum of certificate_counts
  n bigint not null
) with (fillfactor = 50);

create table certificate_count_changes (
  issuer_id text not null,
  expires_slot bigint not null,
  n bigint not null                     -- may be negative
);

create function certificates_counted() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into certificate_count_changes
      select issuer_id, floor(date_part('epoch', not_after) / 14400)::bigint, count(*) from added group by 1, 2;
  elsif tg_op = 'DELETE' then
    insert into certificate_count_changes
      select issuer_id, floor(date_part('epoch', not_after) / 14400)::bigint, -count(*) from removed group by 1, 2;
  else
    insert into certificate_count_changes
      select issuer_id, floor(date_part('epoch', not_after) / 14400)::bigint, sum(n) from (
          select issuer_id, not_after, 1 as n from added union all select issuer_id, not_after, -1 from removed) moved
        group by 1, 2 having sum(n) <> 0;
  end if;
  return null;
end $$;
create trigger certificates_counted_insert after insert on certificates referencing new table as added
  for each statement execute function certificates_counted();
create trigger certificates_counted_update after update on certificates referencing new table as added old table as removed
  for each statement execute function certificates_counted();
create trigger certificates_counted_delete after delete on certificates referencing old table as removed
  for each statement execute function certificates_counted();
alter table certificates enable always trigger certificates_counted_insert;
alter table certificates enable always trigger certificates_counted_update;
alter table certificates enable always trigger certificates_counted_delete;

-- Once, for the rows of before: the triggers' lock keeps writers away until this transaction ends.
insert into certificate_counts
  select floor(date_part('epoch', not_after) / 14400)::bigint, issuer_id, count(*) from certificates
   where not_after >= now() - interval '4 hours' group by 1, 2;
insert into certificate_totals select issuer_id, sum(n) from certificate_counts group by 1;

-- Expired buckets leave the totals, then the changes enter both. One transaction, one slot: a change of a slot that is over
-- counts for nothing any more. Returns how many were folded.
create function certificate_counts_fold() returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  this_slot bigint := floor(date_part('epoch', now()) / 14400);
  folded bigint;
begin
  lock table certificate_totals in share row exclusive mode;      -- one folds at a time; whoever reads does not wait
  with gone as (
      delete from certificate_counts where expires_slot < this_slot returning issuer_id, n),
    sums as (select issuer_id, sum(n) as n from gone group by 1)
  update certificate_totals t set n = t.n - s.n from sums s where t.issuer_id = s.issuer_id;
  with gone as (
      delete from certificate_count_changes where ctid in (
        select ctid from certificate_count_changes limit 100000)
      returning issuer_id, expires_slot, n),
    sums as (select expires_slot, issuer_id, sum(n) as n from gone where expires_slot >= this_slot group by 1, 2),
    counted as (
      insert into certificate_counts as c select expires_slot, issuer_id, n from sums order by 1, 2
        on conflict (expires_slot, issuer_id) do update set n = c.n + excluded.n),
    summed as (
      insert into certificate_totals as t select issuer_id, sum(n) from sums group by 1 order by 1
        on conflict (issuer_id) do update set n = t.n + excluded.n)
  select count(*) into folded from gone;
  return folded;
end $$;

create view certificate_inventory as
  select issuer_id, sum(n)::bigint as unexpired from (
      select issuer_id, n from certificate_totals
      union all
      select issuer_id, -n from certificate_counts where expires_slot < floor(date_part('epoch', now()) / 14400)
      union all
      select issuer_id, n from certificate_count_changes where expires_slot >= floor(date_part('epoch', now()) / 14400)
    ) parts group by issuer_id having sum(n) > 0;

-- One certificate of each of so many blocks drawn by lot: every certificate may be drawn, whatever its serial number is, at
-- a cost that does not depend on how many there are. Blocks without a certificate give none.
create function certificate_sample(p_blocks int) returns table (issuer_id text, serial_number bytea, not_after timestamptz)
  language sql volatile security definer
  set search_path = pg_catalog, public, pg_temp as $$
  with size as (select pg_relation_size('public.certificates') / current_setting('block_size')::int as blocks),
    drawn as materialized (
      select floor(random() * s.blocks)::bigint as block from size s, generate_series(1, least(p_blocks, 500)) where s.blocks > 0)
  select c.issuer_id, c.serial_number, c.not_after
    from drawn d cross join lateral (
      select x.issuer_id, x.serial_number, x.not_after from certificates x
       where x.ctid >= format('(%s,0)', d.block)::tid and x.ctid < format('(%s,0)', d.block + 1)::tid
       order by random() limit 1) c $$;

-- What a warmer last wrote of itself. A row goes when it is a day old; deleting one is safe at any time.
create table warmer_heartbeats (
  warmer text primary key,
  at timestamptz not null default clock_timestamp(),
  walked_at timestamptz,                          -- when its last walk of the whole inventory ended
  queue bigint not null default 0,                -- changes of status that it has not published yet
  rotation_failures int not null default 0,       -- issuers without a usable responder
  missing bigint,                                 -- records that its last walk had to sign
  failing text[] not null default '{}'            -- loops that fail at this time
) with (fillfactor = 50);

-- Without the name, which has a path in it: `/ready` shows this to everyone.
create view warmer_health as
  select date_part('epoch', clock_timestamp() - at) as age_s, date_part('epoch', clock_timestamp() - walked_at) as walk_age_s,
         queue, rotation_failures, missing, failing
    from warmer_heartbeats where at > now() - interval '1 day';

revoke all on function certificates_counted, certificate_counts_fold, certificate_sample from public;
grant execute on function certificate_counts_fold to fastocsp_writer;
grant execute on function certificate_sample to fastocsp_reader;
grant select on certificate_inventory, warmer_health to fastocsp_reader, fastocsp_writer;
grant select, insert, update, delete on warmer_heartbeats to fastocsp_writer;
