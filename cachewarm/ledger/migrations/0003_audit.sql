-- The audit chain: who did what, each row hash-linked to the one before, numbered without a gap, never changed.
--
-- hash = SHA-256(prev_hash || seq || at in microseconds || every field with its length in front). audit_head knows the
-- last row, so that rows cut off at the end are missed as well. Whoever can switch triggers off can rewrite all of it:
-- keep (seq, hash) of audit_head somewhere else from time to time.

create table audit_events (
  seq bigint primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  issuer_id text,
  serial_number bytea,
  detail jsonb not null default '{}',
  prev_hash bytea not null,
  hash bytea not null
);
create index audit_events_certificate on audit_events (issuer_id, serial_number, seq);

create table audit_head (
  one bool primary key default true check (one),
  seq bigint not null,
  hash bytea not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
insert into audit_head values (true, 0, sha256(''));

create type audit_entry as (actor text, action text, issuer_id text, serial_number bytea, detail jsonb);

create function audit_field(octets bytea) returns bytea language sql immutable parallel safe
  return int4send(coalesce(octet_length(octets), -1)) || coalesce(octets, ''::bytea);

create function audit_hash(prev_hash bytea, seq bigint, at timestamptz, entry audit_entry) returns bytea
  language sql stable parallel safe
  return sha256(prev_hash || int8send(seq) || int8send((extract(epoch from at) * 1000000)::int8)
    || audit_field(convert_to((entry).actor, 'UTF8')) || audit_field(convert_to((entry).action, 'UTF8'))
    || audit_field(convert_to((entry).issuer_id, 'UTF8')) || audit_field((entry).serial_number)
    || audit_field(convert_to((entry).detail::text, 'UTF8')));

-- The only writer of audit_events. It holds the feed's lock to COMMIT (0002), so numbers have no gaps.
create function audit_append_rows(entries audit_entry[]) returns bigint language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  s bigint;
  h bytea;
  before bytea;
  t timestamptz;
  e audit_entry;
begin
  if coalesce(cardinality(entries), 0) = 0 then return null; end if;
  perform ledger_lock();
  t := clock_timestamp();
  select seq, hash into strict s, h from audit_head;
  foreach e in array entries loop
    before := h;
    s := s + 1;
    h := audit_hash(before, s, t, e);
    insert into audit_events values (s, t, e.actor, e.action, e.issuer_id, e.serial_number, e.detail, before, h);
  end loop;
  update audit_head set seq = s, hash = h;
  return s;
end $$;

-- The door for everyone else; what the login was is written beside what the caller says.
create function audit_append(p_actor text, p_action text, p_issuer_id text default null, p_serial_number bytea default null,
                             p_detail jsonb default '{}') returns bigint language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  select audit_append_rows(array[(p_actor, p_action, p_issuer_id, p_serial_number,
                                  p_detail || jsonb_build_object('login', session_user))::audit_entry]) $$;

create function revocation_detail(revoked_at timestamptz, reason smallint, invalidity_date timestamptz) returns jsonb
  language sql stable
  return jsonb_build_object('login', session_user, 'reason', reason,
    'revoked_at', to_char(revoked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'invalidity_date', to_char(invalidity_date at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));

-- The first number from p_from to p_to (null: the end) whose link or hash is broken, or that is missing; null: all hold.
create function audit_verify(p_from bigint default 1, p_to bigint default null) returns bigint language sql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
  with head as (select seq, hash, least(coalesce(p_to, seq), seq) as last from audit_head),
  chained as (
    select e.seq, e.hash, e.prev_hash,
           audit_hash(e.prev_hash, e.seq, e.at, (e.actor, e.action, e.issuer_id, e.serial_number, e.detail)::audit_entry) as expected,
           lag(e.hash) over (order by e.seq) as before, row_number() over (order by e.seq) - 1 + greatest(p_from - 1, 1) as due
      from audit_events e, head where e.seq between greatest(p_from - 1, 1) and head.last),
  broken as (
    select due as seq from chained
      where seq <> due or hash <> expected or prev_hash is distinct from coalesce(before, case when seq = 1 then sha256('') else prev_hash end)
    union all
    select coalesce((select max(seq) from chained) + 1, greatest(p_from - 1, 1)) from head
      where coalesce((select max(seq) from chained), 0) < head.last and head.last >= p_from
    union all
    select head.seq from head join audit_events e using (seq) where head.last = head.seq and e.hash <> head.hash
    union all
    select head.seq + 1 from head where exists (select from audit_events e where e.seq > head.seq))
  select min(seq) from broken $$;

create trigger audit_append_only before update or delete on audit_events for each statement execute function refuse_statement();
create trigger audit_never_truncated before truncate on audit_events for each statement execute function refuse_statement();
alter table audit_events enable always trigger audit_append_only;
alter table audit_events enable always trigger audit_never_truncated;
