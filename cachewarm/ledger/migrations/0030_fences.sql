-- Fences: after a restore, or a failover that may have lost a tail, the ledger may lack revocations that were confirmed.
-- Until evidence closes the gap nothing but listed revocations is answered for the issuers that it had then.
--
-- A fence travels through the feed as an item of the empty serial number, which no certificate has: op 1 sets it, op 2
-- lifts it. It is appended in the transaction that begins the generation, or that finds the divergence, so no lease is
-- given on a set without it. It is a row of feed_snapshot too: edges of an earlier version cannot read such an item or
-- row, and give no lease either.
--
-- A generation is continuous when a witness finds its own place (generation, seq, chain) of an earlier generation in
-- revocation_events: then nothing was lost that it knew. Witnesses are warmers, edges and signers. One that is ahead of
-- the ledger, or of another history, sets fences. A warmer that finds its place keeps them from being set, or lifts those
-- of a promotion; edges lift these only together: every one that had a lease when the generation began. What a person set
-- (feed_begin_generation), what a new server or a diverged witness set, only issuer_fence_lift lifts.

-- A gap begins at the newest moment that the ledger itself knows, and ends when the fence was set, for the last time where
-- there was more than one reason: generation is that of the first, last_generation of the last. covered_until: up to where
-- evidence closes it. awaits: edges that lift it by finding their place, all of them.
create table issuer_fences (
  id bigint generated always as identity primary key,
  issuer_id text not null references issuers on delete cascade,
  since timestamptz not null,
  generation bigint not null,
  last_generation bigint not null,
  reason text not null check (reason in ('restored', 'new server', 'diverged', 'promoted')),
  gap_from timestamptz not null,
  gap_until timestamptz not null,
  covered_until timestamptz not null,
  awaits text[] not null default '{}',
  evidence jsonb not null default '[]',
  lifted_at timestamptz,
  lifted_by text,
  check ((lifted_at is null) = (lifted_by is null))
);
create unique index issuer_fences_open on issuer_fences (issuer_id) where lifted_at is null;

-- What polls show of the past: the verdict on their place, per login and edge ('': a reader without a lease). A reader
-- writes its own row alone, and makes no writer wait: fences_settle reads it and remembers `times`. generation, head of
-- the ledger; at_generation, at_seq, chain: of the poll; as_of: of its last lease, the reader's clock.
create table feed_witnesses (
  login text not null,
  edge text not null,
  is_writer bool not null,
  verdict text not null check (verdict in ('found', 'diverged')),
  generation bigint not null,
  at_generation bigint not null,
  at_seq bigint not null,
  chain bytea,
  as_of timestamptz,
  at timestamptz not null default clock_timestamp(),
  times bigint not null default 1,
  primary key (login, edge)
) with (fillfactor = 50);
create table feed_witnesses_settled (
  login text not null,
  edge text not null,
  times bigint not null,
  primary key (login, edge)
);
create view feed_witnesses_due as
  select w.* from feed_witnesses w left join feed_witnesses_settled s using (login, edge) where w.times > coalesce(s.times, 0);

create or replace view feed_snapshot as
  select feed_item(1, i.issuer_no, r.serial_number, r.revoked_at, r.reason, r.invalidity_date) as item,
         i.issuer_no, r.serial_number, r.revoked_at, r.reason
    from certificate_revocations r join issuers i using (issuer_id)
  union all
  select feed_item(1, i.issuer_no, ''::bytea, f.since, 255::smallint, null), i.issuer_no, ''::bytea, f.since, 255::smallint
    from issuer_fences f join issuers i using (issuer_id) where f.lifted_at is null;

-- A dump that is restored has tables of other numbers, on the same server too. (Not a regclass: a dump has its name.)
create table feed_home (
  one bool primary key default true check (one),
  relation bigint not null
);
insert into feed_home values (true, 'feed_head'::regclass::oid::bigint);

-- How this ledger came to be another one than the generation began with; null: it is the same. Every poll looks: a SQL
-- function would be planned each time.
create function feed_moved() returns text language plpgsql stable
  set search_path = pg_catalog, public, pg_temp as $$
begin
  return (select case when h.sysid <> c.system_identifier then 'new server'
                      when o.relation <> 'public.feed_head'::regclass::oid::bigint then 'restored'
                      when h.tli <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) then 'promoted' end
            from feed_head h, feed_home o, pg_control_system() c);
end $$;

-- The newest moment that the ledger knows something of.
create function ledger_newest() returns timestamptz language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select coalesce(greatest((select at from revocation_events order by seq desc limit 1),
                           (select at from audit_events order by seq desc limit 1)), 'epoch') $$;

-- Fences every issuer that there is, but those that were merged into another one, which answers for all of theirs. Where
-- one is fenced already its item is in the feed; the gap lasts until now, and what was covered of it no further than the
-- ledger knows. What readers report again is not audited again. The generation must be in place.
create function fences_set(p_reason text, p_gap_from timestamptz, p_detail jsonb) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  items bytea[];
  entries audit_entry[];
begin
  perform ledger_lock();
  with put as (
      insert into issuer_fences as f (issuer_id, since, generation, last_generation, reason, gap_from, gap_until, covered_until, awaits)
        select i.issuer_id, x.at, h.generation, h.generation, p_reason, p_gap_from, x.at, p_gap_from,
               case when p_reason = 'promoted'
                    then array(select l.edge from edge_lease l where l.leased and l.login is not null order by l.edge)
                    else '{}' end
          from issuers i, feed_head h, (select clock_timestamp() as at) x
         where i.merged_into is null
        on conflict (issuer_id) where lifted_at is null do update
          set gap_until = excluded.gap_until, last_generation = excluded.last_generation,
              reason = case when excluded.reason = 'promoted' then f.reason else excluded.reason end,
              awaits = case when excluded.reason = 'promoted' then f.awaits else '{}' end,
              covered_until = least(f.covered_until, excluded.gap_from)
        returning f.*, f.gap_until = f.since as is_new)
    select array_agg(feed_item(1, i.issuer_no, ''::bytea, put.since, 255::smallint, null) order by i.issuer_no)
             filter (where put.is_new),
           array_agg((acting(), 'fence set', put.issuer_id, null, p_detail || jsonb_build_object('login', session_user,
             'reason', p_reason, 'generation', put.last_generation, 'gap_from', put.gap_from, 'gap_until', put.gap_until))::audit_entry
             order by put.issuer_id) filter (where put.is_new or p_reason <> 'diverged')
      into items, entries
      from put join issuers i using (issuer_id);
  perform feed_append(items), audit_append_rows(entries);
end $$;

create function fences_lift(p_ids bigint[], p_actor text, p_detail jsonb) returns bigint language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  items bytea[];
  entries audit_entry[];
begin
  perform ledger_lock();
  with gone as (
      update issuer_fences f set lifted_at = clock_timestamp(), lifted_by = p_actor
        where f.id = any(p_ids) and f.lifted_at is null returning f.*)
    select array_agg(feed_item(2, i.issuer_no, ''::bytea, null, null, null) order by i.issuer_no),
           array_agg((p_actor, 'fence lifted', gone.issuer_id, null, p_detail || jsonb_build_object('login', session_user,
             'reason', gone.reason, 'since', gone.since, 'covered_until', gone.covered_until))::audit_entry order by gone.issuer_id)
      into items, entries
      from gone join issuers i using (issuer_id);
  perform feed_append(items), audit_append_rows(entries);
  return coalesce(cardinality(items), 0);
end $$;

-- The fence goes with its issuer: edges would keep it to their next snapshot.
create function issuer_fence_gone() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform fences_lift(array_agg(f.id), acting(), '{"why": "the issuer is deleted"}') from issuer_fences f
    where f.issuer_id = old.issuer_id and f.lifted_at is null having count(*) > 0;
  return old;
end $$;
create trigger issuer_fence_gone before delete on issuers for each row execute function issuer_fence_gone();
alter table issuers enable always trigger issuer_fence_gone;

-- When the caller of a poll had its last lease, by its own clock. It is a setting of the transaction and no argument, as
-- earlier versions send none.
create function caller_as_of() returns timestamptz language sql stable
  set search_path = pg_catalog, pg_temp as $$ select to_timestamp(nullif(current_setting('fastocsp.as_of', true), '')::int8) $$;

-- Had this witness a lease within a horizon of the newest moment that the ledger knew? One that was away may know less.
create function witness_was_live(p_as_of timestamptz, p_newest timestamptz) returns bool language sql stable
  set search_path = pg_catalog, public, pg_temp as $$ select coalesce(p_as_of >= p_newest - feed_horizon(), false) $$;

-- Takes over what polls reported. Without news it takes no lock.
create function fences_settle() returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  diverged jsonb;
  agreed bigint[];
begin
  if not exists (select from feed_witnesses_due) then return; end if;
  perform ledger_lock();
  select jsonb_agg(jsonb_build_object('login', w.login, 'edge', w.edge, 'at_generation', w.at_generation, 'at_seq', w.at_seq))
    into diverged from feed_witnesses_due w where w.verdict = 'diverged';
  insert into feed_witnesses_settled as s select login, edge, times from feed_witnesses_due
    on conflict (login, edge) do update set times = excluded.times;
  if diverged is not null then
    perform fences_set('diverged', ledger_newest(), jsonb_build_object('witnesses', diverged));
  end if;
  agreed := array(
    select f.id from issuer_fences f
     where f.lifted_at is null and f.reason = 'promoted'
       and (exists (select from feed_witnesses w where w.is_writer and witness_agrees(w, f))
            or (f.awaits <> '{}' and not exists (
                  select from unnest(f.awaits) awaited(edge) where not exists (
                    select from feed_witnesses w where w.edge = awaited.edge and witness_agrees(w, f))))));
  if agreed <> '{}' then
    perform fences_lift(agreed, acting(), '{"why": "witnesses found their place"}');
  end if;
end $$;

create function issuers_are_fenced() returns bool language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select not exists (select from issuers i left join issuer_fences f on f.issuer_id = i.issuer_id and f.lifted_at is null
                      where f.id is null and i.merged_into is null) $$;

-- Its place is from before the first reason, and the ledger had it after the last one.
create function witness_agrees(w feed_witnesses, f issuer_fences) returns bool language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select w.verdict = 'found' and w.at_generation < f.generation and w.generation >= f.last_generation
     and witness_was_live(w.as_of, f.gap_from) $$;

-- The first look of a writer at another server, at a dump that was restored, or at another timeline begins a generation, and fences it unless a witness found its
-- place. Leases of before count for how long the ledger was alive.
create function feed_take_over(p_verdict text) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  moved text;
  newest timestamptz;
begin
  perform ledger_lock();
  moved := feed_moved();
  if moved is null then return; end if;
  newest := greatest(ledger_newest(), (select max(l.at) from edge_lease l where l.login is not null and l.renewals > 0));
  update feed_head h set generation = h.generation + 1, sysid = e.sysid, tli = e.tli from feed_epoch() e;
  update feed_home set relation = 'public.feed_head'::regclass::oid::bigint;
  perform edge_placeholder('(leases before generation ' || f.generation || ')', feed_horizon()) from feed_head f;
  if moved <> 'promoted' or p_verdict is distinct from 'found' then
    perform fences_set(case when moved = 'promoted' and p_verdict = 'diverged' then p_verdict else moved end, newest, '{}');
  end if;
end $$;

-- As before, and with the fences of the new generation. A writer settles what witnesses reported.
create or replace function feed_current_head() returns feed_head language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
begin
  if pg_is_in_recovery() then raise exception 'not the primary' using errcode = '25006'; end if;
  if feed_moved() is not null then
    if not pg_has_role(session_user, 'fastocsp_writer', 'member') then
      raise exception 'the ledger was promoted or restored, and no writer has begun its generation yet' using errcode = '55000';
    end if;
    perform feed_take_over(null);
  end if;
  if pg_has_role(session_user, 'fastocsp_writer', 'member') and exists (select from feed_witnesses_due) then
    perform fences_settle();
  end if;
  select * into strict h from feed_head;
  return h;
end $$;

-- Where that place is in the ledger's history: ok, trimmed or diverged.
create function feed_place(p_gen bigint, p_seq bigint, p_chain bytea) returns text language plpgsql stable
  set search_path = pg_catalog, public, pg_temp as $$
declare
  h feed_head;
  c bytea;
begin
  select * into strict h from feed_head;
  if p_gen > h.generation or p_seq > h.seq then return 'diverged'; end if;
  if p_seq < h.base then return 'trimmed'; end if;
  if p_seq = 0 then return 'ok'; end if;
  if p_seq = h.base then
    c := h.base_chain;
  else
    select o.chain into c from revocation_events o where o.seq = p_seq;
  end if;
  return case when c is distinct from p_chain then 'diverged' else 'ok' end;
end $$;

-- A warmer's poll is a witness: it may be the first look at a promoted server.
create function feed_take_over_by(p_gen bigint, p_seq bigint, p_chain bytea) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare place text;
begin
  if pg_is_in_recovery() or feed_moved() is null or not pg_has_role(session_user, 'fastocsp_writer', 'member') then return; end if;
  place := feed_place(p_gen, p_seq, p_chain);
  perform feed_take_over(case when place = 'diverged' then place
    when place = 'ok' and witness_was_live(caller_as_of(), greatest(ledger_newest(),
      (select max(l.at) from edge_lease l where l.login is not null and l.renewals > 0))) then 'found' end);
end $$;

create function feed_witness(p_edge text, p_verdict text, p_generation bigint, p_gen bigint, p_seq bigint, p_chain bytea)
  returns void language sql
  set search_path = pg_catalog, public, pg_temp as $$
  insert into feed_witnesses as w (login, edge, is_writer, verdict, generation, at_generation, at_seq, chain, as_of)
    values (session_user, coalesce(p_edge, ''), pg_has_role(session_user, 'fastocsp_writer', 'member'), p_verdict, p_generation,
            p_gen, p_seq, p_chain, caller_as_of())
    on conflict (login, edge) do update set is_writer = excluded.is_writer, verdict = excluded.verdict,
        generation = excluded.generation, at_generation = excluded.at_generation, at_seq = excluded.at_seq,
        chain = excluded.chain, as_of = excluded.as_of, at = excluded.at, times = w.times + 1
      where (w.verdict, w.at_generation, w.at_seq, w.chain) is distinct from
              (excluded.verdict, excluded.at_generation, excluded.at_seq, excluded.chain)
         or (excluded.verdict = 'found' and w.generation <> excluded.generation) $$;

-- As before; a poll whose place is of an earlier generation, or of another history, is a witness. While one that diverged
-- has not been settled by a writer, no poll succeeds, unless every issuer is fenced already.
create or replace function feed_poll(p_edge text, p_boot uuid, p_h interval, p_gen bigint, p_seq bigint, p_chain bytea,
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
  elsif p_gen > 0 then
    perform feed_take_over_by(p_gen, p_seq, p_chain);
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
  if p_seq > h.seq or p_gen > h.generation then
    st := 'diverged';
  elsif p_seq < h.base then
    st := 'trimmed';
  elsif p_seq > 0 then
    select o.chain into c from revocation_events o where o.seq = p_seq;
    if not found then h := feed_current_head(); end if;      -- trimmed under our eyes: look again
    if p_seq = h.base then c := h.base_chain; end if;
    st := case when p_seq < h.base then 'trimmed' when c is distinct from p_chain then 'diverged' else 'ok' end;
  end if;
  if p_gen > 0 and (st = 'diverged' or (st = 'ok' and p_gen < h.generation)) then
    perform feed_witness(p_edge, case when st = 'ok' then 'found' else st end, h.generation, p_gen, p_seq, p_chain);
    if p_edge is null then h := feed_current_head(); end if;      -- a writer settles it at once
  end if;
  if st <> 'diverged' and exists (select from feed_witnesses_due w where w.verdict = 'diverged') and not issuers_are_fenced() then
    raise exception 'a reader of the feed knows another history, and no writer has set the fences yet' using errcode = '55000';
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

-- As before; a dump was restored, and every issuer is fenced.
create or replace function feed_begin_generation(p_above bigint) returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  g bigint;
  newest timestamptz;
begin
  if p_above is null or p_above < 0 then
    raise exception 'a generation is 0 or more, not %', coalesce(p_above::text, 'null') using errcode = '22003';
  end if;
  perform ledger_lock();
  newest := ledger_newest();
  g := greatest((feed_current_head()).generation, p_above);
  if g >= last_generation_to_ask_for() then
    raise exception 'no generation above % can be asked for (the last one is %): records carry at most 16777215, and promotions need some of them',
      g, last_generation_to_ask_for() using errcode = '22003', hint = 'Give the highest generation that an edge shows in /ready.';
  end if;
  g := g + 1;
  update feed_head set generation = g;
  insert into edge_lease select '(leases before generation ' || g || ')', gen_random_uuid(), feed_horizon(), 0, 0;
  perform fences_set('restored', newest, '{}');
  return g;
end $$;

-- Evidence up to p_until closes the gap up to there; 'infinity' is a person's word for all of it. False: it is not fenced.
create function issuer_fence_cover(p_actor text, p_issuer_id text, p_until timestamptz, p_evidence jsonb) returns bool
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ledger_lock();
  update issuer_fences f set covered_until = greatest(f.covered_until, p_until),
      evidence = f.evidence || jsonb_build_array(p_evidence || jsonb_build_object('until', p_until, 'actor', p_actor, 'at', clock_timestamp()))
    where f.issuer_id = p_issuer_id and f.lifted_at is null;
  if not found then return false; end if;
  perform audit_append_rows(array[(p_actor, 'fence evidence', p_issuer_id, null,
    p_evidence || jsonb_build_object('login', session_user, 'until', p_until))::audit_entry]);
  return true;
end $$;

-- Lifts the fence where evidence closes the gap; false where it does not, or there is none.
create function issuer_fence_lift(p_actor text, p_issuer_id text) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ledger_lock();
  return fences_lift(array(select f.id from issuer_fences f where f.issuer_id = p_issuer_id and f.lifted_at is null
    and f.covered_until >= f.gap_until), p_actor, '{}') > 0;
end $$;

revoke all on function ledger_newest, fences_set, fences_lift, issuer_fence_gone, caller_as_of, feed_moved, issuers_are_fenced, witness_was_live, witness_agrees, fences_settle,
  feed_take_over, feed_place, feed_take_over_by, feed_witness, issuer_fence_cover, issuer_fence_lift from public;
grant select on issuer_fences, feed_witnesses to fastocsp_writer;
grant execute on function issuer_fence_cover, issuer_fence_lift to fastocsp_writer;
