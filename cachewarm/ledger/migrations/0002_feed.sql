-- The feed: what every edge hears, in commit order, without a gap.
--
-- revocation_events is its outbox; feed_append is the only writer of seq and chain. One advisory lock, 'fastocsp.feed',
-- is held from the first append to COMMIT, so the order of seq is the order of commits; the audit chain (0003) takes
-- the same lock, so that the two can never wait for each other. A crash before COMMIT leaves neither row nor number.

create table feed_settings (
  one bool primary key default true check (one),
  horizon interval not null default interval '30 seconds'
    check (horizon between interval '2 seconds' and interval '1 hour')
);
insert into feed_settings default values;

-- base is the last number trimmed away, base_chain its chain value.
create table feed_head (
  one bool primary key default true check (one),
  generation bigint not null,
  sysid bigint not null,
  tli text not null,
  seq bigint not null,
  chain bytea not null,
  base bigint not null,
  base_chain bytea not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

create table revocation_events (
  seq bigint primary key,
  chain bytea not null,
  at timestamptz not null,
  n int not null,
  payload bytea not null
);

-- Expiry of a lease is judged by `renewals` standing still on a monotonic clock; `at` is for people and for trimming.
-- prior_boot is the life that this one took over from: it must never poll again.
create table edge_lease (
  edge text primary key check (edge <> ''),
  boot uuid not null,
  horizon interval not null,
  acked_gen bigint not null,
  acked bigint not null,
  renewals bigint not null default 1,
  at timestamptz not null default clock_timestamp(),
  prior_boot uuid
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

create table warmer_cursor (
  name text primary key,
  generation bigint not null,
  seq bigint not null,
  at timestamptz not null default now()
);

-- Of the running server, not of the data: a restored or promoted copy differs in one of the two. The file name shows a
-- new timeline at once; pg_control_checkpoint() only after the next checkpoint.
create function feed_epoch(out sysid bigint, out tli text) language sql stable
  set search_path = pg_catalog, pg_temp
  as $$ select system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) from pg_control_system() $$;

insert into feed_head select true, 1, e.sysid, e.tli, 0, sha256(''), 0, sha256('') from feed_epoch() e;

-- One item of a payload: op (1 revoke or change, 2 release, 3 purge), issuer_no, length, serial number, revoked_at,
-- reason (255 none), invalidity_date (0 none). Times are epoch seconds, rounded down: revocationTime never lies ahead.
-- STABLE as extract is: called IMMUTABLE it would not be inlined, and the snapshot would take five times as long.
create function feed_item(op int, issuer_no smallint, serial_number bytea, revoked_at timestamptz, reason smallint,
                          invalidity_date timestamptz) returns bytea language sql stable parallel safe
  return substr(int2send(op::int2), 2) || int2send(issuer_no)
      || substr(int2send(octet_length(serial_number)::int2), 2) || serial_number
      || int8send(coalesce(floor(extract(epoch from revoked_at))::int8, 0))
      || substr(int2send(coalesce(reason, 255::int2)), 2)
      || int8send(coalesce(floor(extract(epoch from invalidity_date))::int8, 0));

create function ledger_lock() returns void language plpgsql
  set search_path = pg_catalog, pg_temp as $$
begin
  -- A snapshot older than the lock would read an old head: the chain would fork.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'revocations need READ COMMITTED' using errcode = '25001';
  end if;
  perform pg_advisory_xact_lock(hashtext('fastocsp.feed'));
end $$;

create function feed_append(items bytea[]) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  per_event constant int := 1000;
  s bigint;
  c bytea;
  p bytea;
  n int := coalesce(cardinality(items), 0);
begin
  if n = 0 then return; end if;
  perform ledger_lock();
  select seq, chain into strict s, c from feed_head;
  for i in 0 .. (n - 1) / per_event loop
    select string_agg(x, ''::bytea order by o) into p
      from unnest(items[i * per_event + 1 : (i + 1) * per_event]) with ordinality u(x, o);
    s := s + 1;
    c := sha256(c || int8send(s) || p);
    insert into revocation_events values (s, c, clock_timestamp(), least(per_event, n - i * per_event), p);
  end loop;
  update feed_head set seq = s, chain = c;
end $$;

create view feed_position as
  select h.generation, h.sysid, h.tli, h.seq, h.chain, h.base, s.horizon from feed_head h, feed_settings s;
