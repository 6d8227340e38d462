-- Numbers that only grow are refused while there is room left below what every encoding of them can carry. A record has
-- 24 bits for the generation and 48 for seq (also in Redis and between edge and signer), the journal and Postgres 64, a
-- CRLNumber 20 bytes (RFC 5280 5.2.3). A number beyond these made every later record, or every later CRL, impossible.

-- The last values that a caller may ask for: 777,215 promotions, and 2^158 CRLs, still fit behind them.
create function last_generation_to_ask_for() returns bigint language sql immutable parallel safe return 16000000;
create function last_crl_number_to_ask_for() returns numeric language sql immutable parallel safe return 2::numeric ^ 158;

do $$
begin
  -- A ledger that is beyond them cannot go back: it is left as it is, and says so.
  if exists (select from feed_head where generation between 1 and 16777215 and seq between 0 and 281474976710655) then
    alter table feed_head
      add constraint feed_head_generation_fits check (generation between 1 and 16777215),
      add constraint feed_head_seq_fits check (seq between 0 and 281474976710655);
  else
    raise warning 'generation or seq of the feed are beyond what a record can carry: no answer can be signed from this ledger';
  end if;
end $$;

create or replace function feed_begin_generation(p_above bigint) returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare g bigint;
begin
  if p_above is null or p_above < 0 then
    raise exception 'a generation is 0 or more, not %', coalesce(p_above::text, 'null') using errcode = '22003';
  end if;
  perform ledger_lock();
  g := greatest((feed_current_head()).generation, p_above);
  if g >= last_generation_to_ask_for() then
    raise exception 'no generation above % can be asked for (the last one is %): records carry at most 16777215, and promotions need some of them',
      g, last_generation_to_ask_for() using errcode = '22003', hint = 'Give the highest generation that an edge shows in /ready.';
  end if;
  g := g + 1;
  update feed_head set generation = g;
  insert into edge_lease select '(leases before generation ' || g || ')', gen_random_uuid(), feed_horizon(), 0, 0;
  return g;
end $$;

create or replace function feed_set_horizon(p_h interval) returns void language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if p_h is null or p_h not between interval '2 seconds' and interval '1 hour' then
    raise exception 'a horizon is 2 seconds to 1 hour, not %', coalesce(p_h::text, 'null') using errcode = '22003';
  end if;
  update feed_settings set horizon = p_h where horizon <> p_h;
end $$;

create or replace function raise_crl_number(p_issuer_id text, p_last numeric) returns numeric language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare raised numeric;
begin
  if p_last is null or p_last <> trunc(p_last) or p_last not between 0 and last_crl_number_to_ask_for() then
    raise exception 'CRL number % of % is not a whole number from 0 to 2^158', coalesce(p_last::text, 'null'), p_issuer_id
      using errcode = '22003', hint = 'A CRLNumber has at most 20 bytes (RFC 5280 5.2.3), and later CRLs need higher ones.';
  end if;
  insert into crl_numbers as n (issuer_id, last) values (p_issuer_id, p_last)
    on conflict (issuer_id) do update set last = greatest(n.last, excluded.last) returning last into strict raised;
  return raised;
end $$;

create or replace function next_crl_number(p_issuer_id text) returns numeric language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  used numeric;
  number numeric;
begin
  used := greatest(0,
    (select n.last from crl_numbers n where n.issuer_id = p_issuer_id),
    (select max(c.crl_number) from crl_cache c where c.issuer_id = p_issuer_id),
    (select max(c.crl_number) from crl_parts c where c.issuer_id = p_issuer_id),
    (select max(e.crl_number) from crl_generation_events e where e.issuer_id = p_issuer_id));
  if used >= 2::numeric ^ 159 - 1048576 then
    raise exception 'CRL number % of % was used: no CRLNumber of 20 bytes is left above it (RFC 5280 5.2.3)', used, p_issuer_id
      using errcode = '22003';
  end if;
  insert into crl_numbers as n (issuer_id, last) values (p_issuer_id, used)
    on conflict (issuer_id) do update set last = greatest(n.last, excluded.last);
  update crl_numbers n set sysid = e.sysid, tli = e.tli, generation = e.generation,
      last = n.last + case when n.sysid is null or (n.sysid, n.tli, n.generation) = (e.sysid, e.tli, e.generation)
                      then 1 else 1048576 end
    from crl_epoch() e where n.issuer_id = p_issuer_id returning n.last into strict number;
  return number;
end $$;

revoke all on function last_generation_to_ask_for, last_crl_number_to_ask_for from public;
