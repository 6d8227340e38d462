-- How the feed is read: poll = lease = acknowledgement in one call, the waiter's barrier, the snapshot, trimming.
--
-- The lock 'fastocsp.lease' is the barrier: polls hold it shared to COMMIT, a waiter takes it for an instant after its
-- own commit. Every poll that began before that instant is then in edge_lease; every later one sees the revocation.

create function feed_require_horizon(p_edge text, p_h interval) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare most interval;
begin
  select horizon into strict most from feed_settings;
  if p_h is null or p_h <= interval '0' then
    raise exception 'edge % asks for a lease without a horizon', p_edge using errcode = '22023';
  end if;
  if p_h > most then
    raise exception 'edge % asks for a horizon of %, the ledger allows at most %', p_edge, p_h, most using errcode = '22023';
  end if;
end $$;

-- A WRITE: with synchronous_commit it proves that this is still the quorum's primary. A life that another one of the
-- same name took over from is turned away: two hosts under one name would acknowledge for each other.
create function feed_lease(p_edge text, p_boot uuid, p_h interval, p_gen bigint, p_seq bigint) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into edge_lease as l values (p_edge, p_boot, p_h, p_gen, p_seq)
    on conflict (edge) do update set boot = excluded.boot, horizon = excluded.horizon, acked_gen = excluded.acked_gen,
      acked = excluded.acked, renewals = l.renewals + 1, at = excluded.at,
      prior_boot = case when l.boot = excluded.boot then l.prior_boot else l.boot end
    where l.prior_boot is distinct from excluded.boot;
  if not found then
    raise exception 'another edge is called % too: give each edge its own name', p_edge using errcode = '23505';
  end if;
end $$;

-- The first look after a promotion, a restore or an upgrade begins a new generation. Leases may have been lost with the
-- server before, whole rows of them: until they have run out, a row that acknowledges nothing stands for them, so that
-- no waiter believes that everybody has answered.
create function feed_current_head() returns feed_head language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
  e record;
begin
  if pg_is_in_recovery() then raise exception 'not the primary' using errcode = '25006'; end if;
  select * into strict e from feed_epoch();
  select * into strict h from feed_head;
  if (h.sysid, h.tli) is distinct from (e.sysid, e.tli) then
    perform pg_advisory_xact_lock(hashtext('fastocsp.feed'));
    update feed_head f set generation = f.generation + 1, sysid = e.sysid, tli = e.tli
      where (f.sysid, f.tli) is distinct from (e.sysid, e.tli);
    if found then
      insert into edge_lease select '(leases before generation ' || f.generation || ')', gen_random_uuid(), feed_horizon(), 0, 0 from feed_head f;
    end if;
    select * into strict h from feed_head;
  end if;
  return h;
end $$;

-- p_edge null: a reader without a lease (signer, warmer); no row, no barrier, and no promise about anybody's answers.
create function feed_poll(p_edge text, p_boot uuid, p_h interval, p_gen bigint, p_seq bigint, p_chain bytea, p_limit int default 500)
  returns table (gen bigint, sysid bigint, tli text, head bigint, status text, seq bigint, chain bytea, payload bytea)
  language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
  c bytea;
  st text := 'ok';
begin
  if p_edge is not null then
    perform feed_require_horizon(p_edge, p_h);
    perform pg_advisory_xact_lock_shared(hashtext('fastocsp.lease'));
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
  if p_edge is not null then        -- numbers of another history acknowledge nothing of this one
    perform feed_lease(p_edge, p_boot, p_h, case when st = 'diverged' then 0 else p_gen end, case when st = 'diverged' then 0 else p_seq end);
  end if;
  return query select h.generation, h.sysid, h.tli, h.seq, st, o.seq, o.chain, o.payload
    from (select 1) one left join lateral (
      select * from revocation_events x where st = 'ok' and x.seq > p_seq and x.seq <= h.seq order by x.seq limit p_limit) o on true;
end $$;

-- Leases that have not acknowledged (p_gen, p_seq). To be called in a transaction of its own, after the commit.
create function feed_unacked(p_gen bigint, p_seq bigint) returns setof edge_lease language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('fastocsp.lease'));
  perform feed_current_head();
  delete from edge_lease l where l.edge like '(leases before generation %)' and l.at < clock_timestamp() - 1.01 * l.horizon - interval '1 second';
  return query select * from edge_lease l where (l.acked_gen, l.acked) < (p_gen, p_seq);
end $$;

-- How long any edge may still say good on its own: never below a lease given before the setting was lowered.
create function feed_horizon() returns interval language sql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
  select greatest(s.horizon, (select max(l.horizon) from edge_lease l)) from feed_settings s $$;

create function feed_set_horizon(p_h interval) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  update feed_settings set horizon = p_h where horizon <> p_h $$;

-- For an edge that is gone for good; one that still runs comes back with its next poll.
create function feed_forget(p_edge text) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  delete from edge_lease where edge = p_edge;
  return found;
end $$;

-- Drops all but the newest p_keep events, never one that a lease younger than an hour has not acknowledged. Who asks
-- from before base is told 'trimmed' and takes a snapshot. A crash leaves the outbox as it was.
create function feed_trim(p_keep bigint default 100000) returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  upto bigint;
  c bytea;
begin
  select least(h.seq - greatest(p_keep, 0), (select min(l.acked) from edge_lease l where l.at > clock_timestamp() - interval '1 hour'))
    into upto from feed_head h;
  select chain into c from revocation_events where seq = upto;
  if not found then return 0; end if;
  update feed_head set base = upto, base_chain = c where base < upto;
  with gone as (delete from revocation_events where seq <= upto returning 1) select count(*) into upto from gone;
  return upto;
end $$;

-- Read in REPEATABLE READ together with feed_position.
create view feed_snapshot as
  select feed_item(1, i.issuer_no, r.serial_number, r.revoked_at, r.reason, r.invalidity_date) as item
    from certificate_revocations r join issuers i using (issuer_id);
