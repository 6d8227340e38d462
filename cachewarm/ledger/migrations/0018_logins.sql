-- Who may speak for an edge, and what a login may hold (docs/trust.md).
--
-- A lease belongs to a login: feed_poll serves p_edge only for the login that `fastocsp edge add` made for it. The row of
-- an edge is there before its first poll, and the first poll of a life (a boot id) gives no lease. So every poll that
-- gives one found its own life in a committed row when it began, and the row was locked before the head was read: whoever
-- commits a revocation and reads edge_lease after that sees the row, or the poll has seen the revocation. No lock is
-- needed that polls and waiters share.
--
-- leased: a lease may stand. False from `edge add` to the first poll, and again when the lease has run out (edge_lapse).
-- login null: the row stands for leases whose edge is unknown, or is not known under this name any more; it
-- acknowledges nothing and goes when they have run out.
--
-- This version stops the shared edge login: the rows of before have no login, and their polls are refused until
-- `fastocsp edge add` has made one.
alter table edge_lease add column login text, add column leased bool not null default true;

-- A poll in a name that the login does not own. One row for each login, so that nobody fills the ledger.
create table poll_refusals (
  login text primary key,
  edge text not null,
  address text not null,
  first_at timestamptz not null default clock_timestamp(),
  last_at timestamptz not null default clock_timestamp(),
  times bigint not null default 1
) with (fillfactor = 50);

-- Advisory locks are for everybody: what a reader takes it can keep, and no writer gets past it. A row of feed_head may
-- be locked by those only who may write it.
create or replace function ledger_lock() returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  -- A snapshot older than the lock would read an old head: the chain would fork.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'revocations need READ COMMITTED' using errcode = '25001';
  end if;
  perform from feed_head for no key update;
end $$;

-- A row that acknowledges nothing, for leases that may stand and that no other row tells of.
create function edge_placeholder(p_name text, p_horizon interval) returns void language sql
  set search_path = pg_catalog, public, pg_temp as $$
  insert into edge_lease as l (edge, boot, horizon, acked_gen, acked) values (p_name, gen_random_uuid(), p_horizon, 0, 0)
    on conflict (edge) do update set at = excluded.at, horizon = greatest(l.horizon, excluded.horizon) $$;

-- As before, but only a writer begins a generation: the lock that this takes ends with the caller's transaction, and an
-- edge or signer could keep it for ever. The warmer asks five times a second.
create or replace function feed_current_head() returns feed_head language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
  e record;
begin
  if pg_is_in_recovery() then raise exception 'not the primary' using errcode = '25006'; end if;
  select * into strict e from feed_epoch();
  select * into strict h from feed_head;
  if (h.sysid, h.tli) is distinct from (e.sysid, e.tli) then
    if not pg_has_role(session_user, 'fastocsp_writer', 'member') then
      raise exception 'the ledger was promoted or restored, and no writer has begun its generation yet' using errcode = '55000';
    end if;
    update feed_head f set generation = f.generation + 1, sysid = e.sysid, tli = e.tli
      where (f.sysid, f.tli) is distinct from (e.sysid, e.tli);
    if found then
      perform edge_placeholder('(leases before generation ' || f.generation || ')', feed_horizon()) from feed_head f;
    end if;
    select * into strict h from feed_head;
  end if;
  return h;
end $$;

create or replace function feed_horizon() returns interval language sql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
  select greatest(s.horizon, (select max(l.horizon) from edge_lease l where l.leased)) from feed_settings s $$;

create function poll_refused(p_edge text) returns void language sql
  set search_path = pg_catalog, public, pg_temp as $$
  insert into poll_refusals as r (login, edge, address)
    values (session_user, left(p_edge, 100), coalesce(host(inet_client_addr()), 'local'))
    on conflict (login) do update set edge = excluded.edge, address = excluded.address, last_at = excluded.last_at, times = r.times + 1
      where r.last_at < excluded.last_at - interval '1 second' $$;

-- A WRITE: with synchronous_commit it proves that this is still the quorum's primary. A life that another one of the
-- same name took over from is turned away: two hosts under one name would acknowledge for each other. A new life that
-- cannot name the life before it (p_priors) may be a stranger with a stolen login: the lease of the life before may
-- stand, unheard of by this one, so a row that acknowledges nothing stands for it.
drop function feed_lease(text, uuid, interval, bigint, bigint);
create function feed_lease(l edge_lease, p_boot uuid, p_priors uuid[], p_h interval, p_gen bigint, p_seq bigint) returns void
  language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  if l.leased and l.boot <> p_boot and not coalesce(l.boot = any(p_priors), false) then
    perform edge_placeholder('(an earlier life of ' || l.edge || ')', l.horizon);
  end if;
  update edge_lease set boot = p_boot, horizon = p_h, acked_gen = p_gen, acked = p_seq, renewals = l.renewals + 1,
      at = clock_timestamp(), leased = true, prior_boot = case when l.boot = p_boot then l.prior_boot else l.boot end
    where edge = l.edge;
end $$;

-- status: ok | trimmed | diverged, as before; first: as ok, but this was the first poll of a life, which gives no lease;
-- refused: the login does not own that edge. p_edge null: a reader without a lease (signer, warmer); no row and no
-- promise about anybody's answers.
drop function feed_poll(text, uuid, interval, bigint, bigint, bytea, int);
create function feed_poll(p_edge text, p_boot uuid, p_h interval, p_gen bigint, p_seq bigint, p_chain bytea,
                          p_limit int default 500, p_priors uuid[] default '{}')
  returns table (gen bigint, sysid bigint, tli text, head bigint, status text, seq bigint, chain bytea, payload bytea)
  language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
  l edge_lease;
  c bytea;
  st text := 'ok';
  renewed bool := false;
begin
  if p_edge is not null then
    if current_setting('transaction_isolation') <> 'read committed' then
      raise exception 'a poll for a lease needs READ COMMITTED' using errcode = '25001';
    end if;
    perform feed_require_horizon(p_edge, p_h);
    -- Either way the row is locked before the head is read. Almost every poll renews the lease of its own life.
    update edge_lease x set acked_gen = p_gen, acked = p_seq, renewals = x.renewals + 1, at = clock_timestamp()
      where x.edge = p_edge and x.login = session_user and x.leased and x.boot = p_boot and x.horizon = p_h;
    renewed := found;
  end if;
  if p_edge is not null and not renewed then
    select * into l from edge_lease x where x.edge = p_edge for no key update;
    if l.login is distinct from session_user::text or l.edge is null then
      perform poll_refused(p_edge);
      return query select 0::bigint, 0::bigint, ''::text, 0::bigint, 'refused'::text, null::bigint, null::bytea, null::bytea;
      return;
    end if;
    if l.prior_boot = p_boot then
      raise exception 'another edge is called % too: give each edge its own name', p_edge using errcode = '23505';
    end if;
  end if;
  h := feed_current_head();
  if p_seq > h.seq then
    st := 'diverged';
  elsif p_seq < h.base then
    st := 'trimmed';
  elsif p_seq > 0 then
    select o.chain into c from revocation_events o where o.seq = p_seq;
    if not found then h := feed_current_head(); end if;      -- trimmed under our eyes: look again
    if p_seq = h.base then c := h.base_chain; end if;
    st := case when p_seq < h.base then 'trimmed' when c is distinct from p_chain then 'diverged' else 'ok' end;
  end if;
  if renewed and st = 'diverged' then        -- numbers of another history acknowledge nothing of this one
    update edge_lease x set acked_gen = 0, acked = 0 where x.edge = p_edge;
  elsif p_edge is not null and not renewed then
    perform feed_lease(l, p_boot, p_priors, p_h, case when st = 'diverged' then 0 else p_gen end, case when st = 'diverged' then 0 else p_seq end);
  end if;
  return query select h.generation, h.sysid, h.tli, h.seq,
      case when st = 'ok' and p_edge is not null and not renewed and not (l.leased and l.boot = p_boot) then 'first' else st end,
      o.seq, o.chain, o.payload
    from (select 1) one left join lateral (
      select * from revocation_events x where st = 'ok' and x.seq > p_seq and x.seq <= h.seq order by x.seq limit p_limit) o on true;
end $$;

-- Leases that may stand and have not acknowledged (p_gen, p_seq). To be called in a transaction of its own, after the
-- commit. It waits for no row that an edge's login may have locked.
create or replace function feed_unacked(p_gen bigint, p_seq bigint) returns setof edge_lease language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp set lock_timeout = '200ms' as $$
begin
  perform feed_current_head();
  delete from edge_lease where edge in (
    select l.edge from edge_lease l where l.login is null and l.edge like '(%' and l.at < clock_timestamp() - 1.01 * l.horizon - interval '1 second'
      for update skip locked);
  return query select * from edge_lease l where l.leased and (l.acked_gen, l.acked) < (p_gen, p_seq);
end $$;

-- The edge and its login, before its first poll. For the owner alone: who registers an edge decides whose word counts.
create function edge_register(p_edge text, p_login text, p_actor text) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if p_edge !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' then
    raise exception 'an edge is named by at most 100 letters, digits, dots, hyphens and underscores, not by %', p_edge using errcode = '22023';
  end if;
  if to_regrole(quote_ident(p_login)) is null or not pg_has_role(p_login, 'fastocsp_reader', 'member') then
    raise exception '% is no member of fastocsp_reader', p_login using errcode = '22023';
  end if;
  insert into edge_lease (edge, boot, horizon, acked_gen, acked, renewals, leased, login)
    select p_edge, gen_random_uuid(), s.horizon, 0, 0, 0, false, p_login from feed_settings s
    on conflict (edge) do update set login = excluded.login where edge_lease.login is distinct from excluded.login;
  if found then
    perform audit_append(p_actor, 'edge-add', null, null, jsonb_build_object('edge', p_edge, 'edge_login', p_login));
  end if;
end $$;

-- For an edge that is gone for good: its login speaks for it no longer, and its last lease is waited for. The login that
-- owned it, '' for one of an earlier version, null when there is no such edge.
create function edge_remove(p_edge text, p_actor text) returns text language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare l edge_lease;
begin
  delete from edge_lease where edge = p_edge returning * into l;
  if not found then return null; end if;
  if l.leased then
    perform edge_placeholder('(a removed edge: ' || p_edge || ')', l.horizon);
  end if;
  perform audit_append_rows(array[(p_actor, 'edge-remove', null, null,
      jsonb_build_object('login', session_user, 'edge', p_edge, 'edge_login', l.login))::audit_entry]);
  return coalesce(l.login, '');
end $$;
drop function feed_forget(text);

-- The lease has run out: by the caller's monotonic clock, on which p_renewals stood still for longer than the horizon,
-- and by ours, in case the caller lies. The next poll is the first one of a life again, and waiters need not wait for it.
create function edge_lapse(p_edge text, p_renewals bigint) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  update edge_lease set leased = false where edge in (
    select l.edge from edge_lease l where l.edge = p_edge and l.renewals = p_renewals and l.leased and l.login is not null
        and l.at < clock_timestamp() - 1.01 * l.horizon - interval '1 second'
      for update skip locked);
  return found;
end $$;

-- As before, but rows that no edge ever acknowledged anything with hold nothing back.
create or replace function feed_trim(p_keep bigint default 100000) returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  upto bigint;
  c bytea;
begin
  select least(h.seq - greatest(p_keep, 0), (select min(l.acked) from edge_lease l
      where l.at > clock_timestamp() - interval '1 hour' and l.login is not null and l.renewals > 0))
    into upto from feed_head h;
  select chain into c from revocation_events where seq = upto;
  if not found then return 0; end if;
  update feed_head set base = upto, base_chain = c where base < upto;
  with gone as (delete from revocation_events where seq <= upto returning 1) select count(*) into upto from gone;
  return upto;
end $$;

-- Whom does that session wait for? Those at the front of the queue only. Of other logins the times and queries are
-- visible when the owner is a member of pg_read_all_stats (`fastocsp db roles --sql`).
create function ledger_holders(p_waiting int)
  returns table (pid int, login text, address text, since timestamptz, state text, query text)
  language sql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
  with recursive ahead(pid) as (
    select unnest(pg_blocking_pids(p_waiting))
    union select unnest(pg_blocking_pids(a.pid)) from ahead a)
  select a.pid, coalesce(s.usename::text, 'a prepared transaction'), coalesce(host(s.client_addr), 'local'), s.xact_start, s.state, left(s.query, 200)
    from ahead a left join pg_stat_activity s on s.pid = a.pid
    where cardinality(pg_blocking_pids(a.pid)) = 0 order by s.xact_start $$;

-- End the one whom that session of the caller's own login waits for. The audit row names both.
create function ledger_end_holder(p_waiting int, p_holder int, p_actor text) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  held record;
  gone bool;
begin
  if not exists (select from pg_stat_activity s where s.pid = p_waiting and s.usename = session_user) then
    raise exception 'session % is not one of %', p_waiting, session_user using errcode = '42501';
  end if;
  select * into held from ledger_holders(p_waiting) x where x.pid = p_holder;
  if not found then return false; end if;
  gone := pg_terminate_backend(p_holder, 5000);
  perform audit_append_rows(array[(p_actor, 'end-holder', null, null, jsonb_build_object('login', session_user,
      'ended_login', held.login, 'address', held.address, 'since', held.since, 'query', held.query))::audit_entry]);
  return gone;
end $$;

-- A transaction of an edge or signer that lasts longer than any of theirs does: it holds back vacuum, and with it every
-- poll, and every migration. Never sooner than 90 s after its begin, as a snapshot may take 60 s.
create function readers_end_overdue(p_after interval) returns table (pid int, login text, address text, since timestamptz)
  language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  -- materialized: the conditions of one WHERE are evaluated in any order, and one of them would end sessions
  with overdue as materialized (
    select s.pid, s.usename::text as login, coalesce(host(s.client_addr), 'local') as address, s.xact_start as since
      from pg_stat_activity s
      where s.datname = current_database() and s.xact_start < clock_timestamp() - greatest(p_after, interval '90 seconds')
        and pg_has_role(s.usesysid, 'fastocsp_reader', 'member') and not pg_has_role(s.usesysid, 'fastocsp_writer', 'member'))
  select o.pid, o.login, o.address, o.since from overdue o where pg_terminate_backend(o.pid) $$;

-- Whose turn it is to build or fetch an issuer's CRLs, in the whole cluster. The turn ends with its session, or after an
-- hour: a session of another login hides its begin, and its number may be that of a later one.
create table crl_turns (
  issuer_id text primary key,
  pid int not null,
  began timestamptz,
  taken_at timestamptz not null default clock_timestamp()
);
create function crl_turn_take(p_issuer_id text) returns bool language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into crl_turns as t (issuer_id, pid, began)
    select p_issuer_id, s.pid, s.backend_start from pg_stat_activity s where s.pid = pg_backend_pid()
    on conflict (issuer_id) do update set pid = excluded.pid, began = excluded.began, taken_at = excluded.taken_at
      where t.taken_at < clock_timestamp() - interval '1 hour' or not exists (
        select from pg_stat_activity s where s.pid = t.pid and s.datname = current_database() and coalesce(s.backend_start = t.began, true));
  return found;
end $$;

revoke all on function edge_placeholder, poll_refused, feed_lease, feed_poll, edge_register, edge_remove, edge_lapse, ledger_holders,
  ledger_end_holder, readers_end_overdue, crl_turn_take from public;
grant execute on function feed_poll to fastocsp_reader, fastocsp_writer;
grant execute on function edge_remove, edge_lapse, ledger_holders, ledger_end_holder, readers_end_overdue, crl_turn_take to fastocsp_writer;
grant select on poll_refusals to fastocsp_writer;
grant select, insert, update, delete on crl_turns to fastocsp_writer;
