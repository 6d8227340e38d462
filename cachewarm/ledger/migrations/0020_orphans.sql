-- Orphans: revocations that an edge, or a CRL signed here, knows and the ledger lacks, as after the restore of an old dump
-- or a failover that lost the tail.
--
-- An edge's login reports what it knows (feed_report_orphans). The report is no proof: it blocks `good` everywhere and is
-- an alarm, but revokes nothing. It travels through the feed as an item of op 4, which edges put into their set as an
-- entry that no record agrees with. It becomes a revocation by orphan_confirm (signed evidence, or an operator), and ends
-- by orphan_dismiss. An entry that a signed CRL had (in_crl) is also carried forward by the next CRLs.
--
-- What a reader's login writes here are rows of its own alone (key: login), and it takes no lock of the ledger: it can
-- make no writer wait. orphans_settle, called by writers, takes the reports over.

alter table feed_settings
  add column orphan_limit int not null default 1000 check (orphan_limit between 1 and 1000000);

-- One row per login: its lock serializes the calls of one login. `refused`: reports beyond orphan_limit.
create table orphan_reporters (
  login text primary key,
  edge text not null,
  refused bigint not null default 0,
  at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table orphan_reports (
  login text not null,
  issuer_no smallint not null,
  serial_number bytea not null check (is_serial_number(serial_number)),
  edge text not null,
  revoked_at timestamptz not null,
  reason smallint not null,
  generation bigint not null,      -- the place of the feed where the edge is
  seq bigint not null,
  first_seen timestamptz not null default clock_timestamp(),
  last_seen timestamptz not null default clock_timestamp(),
  times bigint not null default 1,
  primary key (login, issuer_no, serial_number)
);

create table orphans (
  issuer_id text not null references issuers,
  serial_number bytea not null check (is_serial_number(serial_number)),
  revoked_at timestamptz not null,
  reason smallint not null,
  invalidity_date timestamptz,
  in_crl bool not null default false,
  crl_number crl_number,           -- of the CRL that had the entry
  since timestamptz not null default clock_timestamp(),
  state text not null default 'open' check (state in ('open', 'confirmed', 'dismissed')),
  decided_by text,
  decided_at timestamptz,
  evidence text,
  primary key (issuer_id, serial_number),
  check ((state = 'open') = (decided_at is null))
);
create index orphans_open on orphans (issuer_id) where state = 'open';

-- CRLs that edges served when they reported: signed by the issuer, so they prove what they list. Checked by the writer.
create table orphan_evidence (
  login text not null,
  issuer_no smallint not null,
  crl_der bytea not null,
  at timestamptz not null default clock_timestamp(),
  primary key (login, issuer_no)
);
alter table orphan_evidence alter column crl_der set storage external;

-- May this login speak for that edge? The one place that decides it for reports.
create function edge_login_may(p_edge text) returns bool language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select exists (select from edge_lease l where l.edge = p_edge and l.login = session_user::text) $$;

-- What edges and signers read beside a snapshot of the revoked set.
create view feed_orphans as
  select i.issuer_no, o.serial_number, o.revoked_at, o.reason
    from orphans o join issuers i using (issuer_id)
   where o.state = 'open'
     and not exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (o.issuer_id, o.serial_number));

-- Entries of CRLs that were published, which the ledger lacks: the next CRLs have them too.
create view crl_carried as
  select o.issuer_id, o.serial_number, o.revoked_at, o.reason, o.invalidity_date
    from orphans o
   where o.state = 'open' and o.in_crl
     and not exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (o.issuer_id, o.serial_number));

-- At most 500 rows per call. Returns those that are no orphans: an operator dismissed them, or the ledger knows that the
-- hold was released; the edge forgets them. p_revoked_at: epoch seconds.
create function feed_report_orphans(p_edge text, p_generation bigint, p_seq bigint, p_issuer_nos smallint[], p_serials bytea[],
                                    p_revoked_at bigint[], p_reasons smallint[])
  returns table (issuer_no smallint, serial_number bytea) language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  n int := coalesce(cardinality(p_serials), 0);
  room bigint;
  fresh bigint;
  added bigint;
begin
  if pg_is_in_recovery() then raise exception 'not the primary' using errcode = '25006'; end if;
  if p_edge is null or p_edge = '' or octet_length(p_edge) > 255 or not edge_login_may(p_edge) then
    raise exception 'login % may not report for edge %', session_user, left(p_edge, 255) using errcode = '42501';
  end if;
  if n > 500 or n <> coalesce(cardinality(p_issuer_nos), 0) or n <> coalesce(cardinality(p_revoked_at), 0)
      or n <> coalesce(cardinality(p_reasons), 0) then
    raise exception 'a report has at most 500 rows, and as many of each column' using errcode = '22023';
  end if;
  insert into orphan_reporters as o (login, edge) values (session_user, p_edge)
    on conflict (login) do update set edge = excluded.edge, at = excluded.at;
  -- What a login named within the hour, and what of it is still open, counts: it blocks no more than orphan_limit.
  select s.orphan_limit - count(r.login) into room
    from feed_settings s left join orphan_reports r on r.login = session_user
      and (r.first_seen > clock_timestamp() - interval '1 hour'
           or not exists (select from orphans o join issuers i using (issuer_id)
                           where (i.issuer_no, o.serial_number) = (r.issuer_no, r.serial_number) and o.state <> 'open'))
    group by s.orphan_limit;
  if room > 0 then      -- revoked again after the operator's decision
    update orphan_reports r set revoked_at = to_timestamp(u.t), reason = u.r, first_seen = clock_timestamp()
      from unnest(p_issuer_nos, p_serials, p_revoked_at, p_reasons) u(i, s, t, r)
      where (r.login, r.issuer_no, r.serial_number) = (session_user::text, u.i, u.s)
        and u.t between extract(epoch from r.revoked_at) + 1 and extract(epoch from clock_timestamp()) + 60
        and u.r between 0 and 10 and u.r not in (7, 8);
  end if;
  update orphan_reports r set last_seen = clock_timestamp(), times = r.times + 1, edge = p_edge
    from unnest(p_issuer_nos, p_serials) u(i, s)
    where (r.login, r.issuer_no, r.serial_number) = (session_user::text, u.i, u.s)
      and r.last_seen < clock_timestamp() - interval '10 seconds';
  with told as (
      select distinct on (u.i, u.s) u.i, u.s, to_timestamp(u.t) as t, u.r
        from unnest(p_issuer_nos, p_serials, p_revoked_at, p_reasons) u(i, s, t, r) join issuers i on i.issuer_no = u.i
       where is_serial_number(u.s) and u.t between 0 and extract(epoch from clock_timestamp()) + 60
         and u.r between 0 and 10 and u.r not in (7, 8)
         and not exists (select from certificate_revocations c where (c.issuer_id, c.serial_number) = (i.issuer_id, u.s))
         and not exists (select from orphan_reports p
                          where (p.login, p.issuer_no, p.serial_number) = (session_user::text, u.i, u.s))
       order by u.i, u.s, u.t),
    put as (
      insert into orphan_reports (login, issuer_no, serial_number, edge, revoked_at, reason, generation, seq)
        select session_user, told.i, told.s, p_edge, told.t, told.r, coalesce(p_generation, 0), coalesce(p_seq, 0)
          from told limit greatest(room, 0)
        returning 1)
    select (select count(*) from told), (select count(*) from put) into fresh, added;
  if fresh > added then
    update orphan_reporters o set refused = o.refused + fresh - added where o.login = session_user;
  end if;
  return query
    select u.i, u.s from unnest(p_issuer_nos, p_serials, p_revoked_at) u(i, s, t)
      join issuers i on i.issuer_no = u.i
      join orphans o on (o.issuer_id, o.serial_number) = (i.issuer_id, u.s)
     where o.state = 'dismissed' and to_timestamp(u.t) + interval '1 second' <= o.decided_at;      -- times come in whole seconds
end $$;

-- The CRL of an issuer that the edge serves, for the entries that the ledger lacks. One per login and issuer, of issuers
-- that the login reported orphans of, at most once a minute.
create function feed_report_crl(p_edge text, p_issuer_no smallint, p_crl bytea) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if pg_is_in_recovery() then raise exception 'not the primary' using errcode = '25006'; end if;
  if p_edge is null or not edge_login_may(p_edge) then
    raise exception 'login % may not report for edge %', session_user, left(p_edge, 255) using errcode = '42501';
  end if;
  if p_crl is null or octet_length(p_crl) not between 1 and 67108864 then
    raise exception 'a CRL of 1 byte to 64 MiB is expected' using errcode = '22023';
  end if;
  if not exists (select from orphan_reports r where r.login = session_user and r.issuer_no = p_issuer_no) then return false; end if;
  insert into orphan_evidence as e (login, issuer_no, crl_der) values (session_user, p_issuer_no, p_crl)
    on conflict (login, issuer_no) do update set crl_der = excluded.crl_der, at = excluded.at
      where e.at < clock_timestamp() - interval '1 minute' and e.crl_der <> excluded.crl_der;
  return found;
end $$;

-- Reports that are not in `orphans` yet, or were decided before what they name.
create view orphans_due as
  select i.issuer_id, i.issuer_no, r.serial_number, min(r.revoked_at) as revoked_at,
         (array_agg(r.reason order by r.first_seen, r.login))[1] as reason, array_agg(r.login order by r.login) as logins
    from orphan_reports r join issuers i using (issuer_no)
         left join orphans o on (o.issuer_id, o.serial_number) = (i.issuer_id, r.serial_number)
   where (o.issuer_id is null or (o.state = 'dismissed' and r.revoked_at + interval '1 second' > o.decided_at)
          or (o.state = 'confirmed' and r.last_seen > o.decided_at))
     and not exists (select from certificate_revocations c where (c.issuer_id, c.serial_number) = (i.issuer_id, r.serial_number))
   group by i.issuer_id, i.issuer_no, r.serial_number;

-- Is the ledger's own word that it is none: the certificate expired, or the hold was released after that time.
create function orphan_is_over(p_issuer_id text, p_serial_number bytea, p_revoked_at timestamptz, p_reason smallint) returns bool
  language sql stable
  set search_path = pg_catalog, public, pg_temp as $$
  select is_expired(p_issuer_id, p_serial_number) or (p_reason = 6 and exists (
    select from audit_events a where (a.issuer_id, a.serial_number) = (p_issuer_id, p_serial_number)
      and a.action = 'release' and a.at >= p_revoked_at)) $$;

-- Takes over what was reported: blocked in the feed from here on, or over at once. Then closes what the ledger has by now,
-- and what expired a week ago. How many rows changed; without one it takes no lock.
create function orphans_settle() returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  changed bigint;
  done bigint;
  items bytea[];
  entries audit_entry[];
begin
  if not exists (select from orphans_due) and not exists (
      select from orphans o where o.state = 'open' and (
        exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (o.issuer_id, o.serial_number))
        or exists (select from certificates c where (c.issuer_id, c.serial_number) = (o.issuer_id, o.serial_number)
                    and c.not_after < now() - interval '7 days'))) then
    return 0;
  end if;
  perform ledger_lock();
  with due as (select d.*, orphan_is_over(d.issuer_id, d.serial_number, d.revoked_at, d.reason) as is_over from orphans_due d),
    put as (
      insert into orphans as o (issuer_id, serial_number, revoked_at, reason, state, decided_by, decided_at, evidence)
        select issuer_id, serial_number, revoked_at, reason, case when is_over then 'dismissed' else 'open' end,
               case when is_over then 'ledger' end, case when is_over then clock_timestamp() end,
               case when is_over then 'expired, or its hold was released' end
          from due
        on conflict (issuer_id, serial_number) do update set revoked_at = excluded.revoked_at, reason = excluded.reason,
          state = excluded.state, decided_by = excluded.decided_by, decided_at = excluded.decided_at, evidence = excluded.evidence,
          since = excluded.since
        returning o.issuer_id, o.serial_number, o.revoked_at, o.reason, o.state)
    select count(*),
           array_agg(feed_item(case when put.state = 'open' then 4 else 2 end, due.issuer_no, put.serial_number, put.revoked_at,
                               put.reason, null) order by put.issuer_id, put.serial_number),
           array_agg(('feed_report_orphans', 'orphan ' || put.state, put.issuer_id, put.serial_number,
             revocation_detail(put.revoked_at, put.reason, null) || jsonb_build_object('logins', due.logins))::audit_entry
             order by put.issuer_id, put.serial_number)
      into changed, items, entries
      from put join due using (issuer_id, serial_number);
  perform feed_append(items), audit_append_rows(entries);
  update orphans o set state = 'confirmed', decided_by = 'ledger', decided_at = clock_timestamp(), evidence = 'revoked in the ledger'
    where o.state = 'open'
      and exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (o.issuer_id, o.serial_number));
  get diagnostics done = row_count;
  changed := changed + done;
  with over as (
      update orphans o set state = 'dismissed', decided_by = 'ledger', decided_at = clock_timestamp(), evidence = 'expired'
        where o.state = 'open' and exists (
          select from certificates c where (c.issuer_id, c.serial_number) = (o.issuer_id, o.serial_number)
            and c.not_after < now() - interval '7 days')
        returning o.issuer_id, o.serial_number)
    select array_agg(feed_item(3, i.issuer_no, over.serial_number, null, null, null) order by over.issuer_id, over.serial_number)
      from over join issuers i using (issuer_id) into items;
  perform feed_append(items);
  return changed + coalesce(cardinality(items), 0);
end $$;

-- Which of these entries of a published CRL the ledger lacks without a reason: not revoked, not expired, not released
-- since, not dismissed. p_since: the CRL's thisUpdate, less what clocks differ by.
create function crl_vanished(p_issuer_id text, p_serials bytea[], p_since timestamptz) returns setof bytea language sql stable
  security definer set search_path = pg_catalog, public, pg_temp as $$
  select u.s from unnest(p_serials) u(s)
   where not exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (p_issuer_id, u.s))
     and not is_expired(p_issuer_id, u.s)
     and not exists (select from orphans o where (o.issuer_id, o.serial_number) = (p_issuer_id, u.s) and o.state = 'dismissed'
                      and o.decided_at >= p_since)
     and not exists (select from audit_events a where (a.issuer_id, a.serial_number) = (p_issuer_id, u.s)
                      and a.action in ('release', 'purge') and a.at >= p_since) $$;

-- Entries that a CRL signed by the issuer has and the ledger lacks: orphans that the next CRLs have too.
create function orphans_from_crl(p_issuer_id text, p_crl_number numeric, p_serials bytea[], p_revoked_at timestamptz[],
                                 p_reasons smallint[], p_invalidity_dates timestamptz[]) returns bigint language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  items bytea[];
  entries audit_entry[];
begin
  perform ledger_lock();
  with told as (
      select u.s, u.t, u.r, u.i from unnest(p_serials, p_revoked_at, p_reasons, p_invalidity_dates) u(s, t, r, i)
       where not exists (select from certificate_revocations c where (c.issuer_id, c.serial_number) = (p_issuer_id, u.s))),
    put as (
      insert into orphans as o (issuer_id, serial_number, revoked_at, reason, invalidity_date, in_crl, crl_number)
        select p_issuer_id, s, t, r, i, true, p_crl_number from told
        on conflict (issuer_id, serial_number) do update set revoked_at = excluded.revoked_at, reason = excluded.reason,
          invalidity_date = excluded.invalidity_date, in_crl = true, crl_number = excluded.crl_number, state = 'open',
          decided_by = null, decided_at = null, evidence = null
          where not (o.state = 'open' and o.in_crl)
        returning o.serial_number, o.revoked_at, o.reason, o.invalidity_date)
    select array_agg(feed_item(4, i.issuer_no, put.serial_number, put.revoked_at, put.reason, null) order by put.serial_number),
           array_agg((acting(), 'orphan open', p_issuer_id, put.serial_number,
             revocation_detail(put.revoked_at, put.reason, put.invalidity_date) || jsonb_build_object('crl_number', p_crl_number))::audit_entry
             order by put.serial_number)
      into items, entries
      from put join issuers i on i.issuer_id = p_issuer_id;
  perform feed_append(items), audit_append_rows(entries);
  return coalesce(cardinality(items), 0);
end $$;

-- The orphan becomes an ordinary revocation, with the earliest time. Nulls keep what the orphan says. False: there is no
-- open orphan of that serial number.
create function orphan_confirm(p_actor text, p_issuer_id text, p_serial_number bytea, p_revoked_at timestamptz, p_reason smallint,
                               p_invalidity_date timestamptz, p_evidence text) returns bool language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare o orphans;
begin
  perform ledger_lock();
  update orphans x set state = 'confirmed', decided_by = p_actor, decided_at = clock_timestamp(), evidence = p_evidence,
      revoked_at = coalesce(p_revoked_at, x.revoked_at), reason = coalesce(p_reason, x.reason),
      invalidity_date = coalesce(p_invalidity_date, x.invalidity_date)
    where (x.issuer_id, x.serial_number, x.state) = (p_issuer_id, p_serial_number, 'open') returning x.* into o;
  if not found then return false; end if;
  perform set_config('fastocsp.actor', p_actor, true);
  insert into certificate_revocations as r (issuer_id, serial_number, revoked_at, reason, invalidity_date, revoked_by)
    values (o.issuer_id, o.serial_number, o.revoked_at, o.reason, o.invalidity_date, p_actor)
    on conflict (issuer_id, serial_number) do update set revoked_at = least(r.revoked_at, excluded.revoked_at);
  perform audit_append_rows(array[(p_actor, 'orphan confirmed', o.issuer_id, o.serial_number,
    revocation_detail(o.revoked_at, o.reason, o.invalidity_date) || jsonb_build_object('evidence', p_evidence))::audit_entry]);
  return true;
end $$;

-- It never was, or no longer is: edges that know it forget it, `good` may be answered again, CRLs drop it.
create function orphan_dismiss(p_actor text, p_issuer_id text, p_serial_number bytea, p_why text) returns bool language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
declare o orphans;
begin
  perform ledger_lock();
  update orphans x set state = 'dismissed', decided_by = p_actor, decided_at = clock_timestamp(), evidence = p_why
    where (x.issuer_id, x.serial_number, x.state) = (p_issuer_id, p_serial_number, 'open') returning x.* into o;
  if not found then return false; end if;
  if not exists (select from certificate_revocations r where (r.issuer_id, r.serial_number) = (p_issuer_id, p_serial_number)) then
    perform feed_append(array[feed_item(2, i.issuer_no, o.serial_number, null, null, null)]) from issuers i where i.issuer_id = p_issuer_id;
    insert into crl_changes (issuer_id, serial_number, revoked_at)
      select o.issuer_id, o.serial_number, o.revoked_at from issuers i where i.issuer_id = p_issuer_id and i.delta_crl and o.in_crl;
  end if;
  perform audit_append_rows(array[(p_actor, 'orphan dismissed', o.issuer_id, o.serial_number,
    revocation_detail(o.revoked_at, o.reason, o.invalidity_date) || jsonb_build_object('why', p_why))::audit_entry]);
  return true;
end $$;

-- It waits for no row that the edge's login holds by a report that it does not commit: that one is dropped next time.
create function orphan_evidence_forget(p_login text, p_issuer_no smallint) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  delete from orphan_evidence where (login, issuer_no) in (
    select e.login, e.issuer_no from orphan_evidence e where (e.login, e.issuer_no) = (p_login, p_issuer_no) for update skip locked) $$;

create function orphans_set_limit(p_limit int) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$ update feed_settings set orphan_limit = p_limit $$;

alter table issuer_faults drop constraint issuer_faults_work_check,
  add constraint issuer_faults_work_check check (work in ('responder', 'walk', 'orphans'));

revoke all on function edge_login_may, feed_report_orphans, feed_report_crl, orphan_is_over, orphans_settle, crl_vanished,
  orphans_from_crl, orphan_confirm, orphan_dismiss, orphan_evidence_forget, orphans_set_limit from public;
grant select on feed_orphans to fastocsp_reader, fastocsp_writer;
grant select on crl_carried, orphans, orphan_reports, orphan_reporters, orphan_evidence to fastocsp_writer;
grant execute on function feed_report_orphans, feed_report_crl to fastocsp_reader;
grant execute on function orphans_settle, crl_vanished, orphans_from_crl, orphan_confirm, orphan_dismiss, orphan_evidence_forget,
  orphans_set_limit to fastocsp_writer;
