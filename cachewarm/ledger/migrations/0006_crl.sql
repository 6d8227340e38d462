-- What the writer made and can make again: responder certificates, CRLs, coverage. Deleting any row of these tables is
-- safe at any time, crl_numbers excepted: it is the memory that a CRL number was used (RFC 5280 5.2.3: it only grows).

create table ocsp_responder_certs (
  issuer_id text not null references issuers,
  cert_subject text not null,
  serial_number bytea not null check (is_serial_number(serial_number)),
  not_before timestamptz not null,
  not_after timestamptz not null,
  created_at timestamptz not null default now(),
  key_path text,
  cert_der bytea not null,
  primary key (issuer_id, serial_number)
);

create domain crl_number as numeric(49) check (value >= 0 and value < 2::numeric ^ 159);      -- at most 20 octets

create table crl_cache (
  issuer_id text primary key references issuers,
  crl_number crl_number not null,
  crl_der bytea not null,
  this_update timestamptz not null,
  next_update timestamptz not null,
  generated_at timestamptz not null default now(),
  generation_duration_ms int not null default 0,
  revoked_count bigint not null
);
alter table crl_cache alter column crl_der set storage external;      -- signatures and serial numbers do not compress

create table crl_numbers (
  issuer_id text primary key references issuers,
  last crl_number not null
);

create table crl_generation_events (
  id bigint generated always as identity primary key,
  issuer_id text not null references issuers,
  started_at timestamptz not null default now(),
  succeeded bool not null,
  error text,
  duration_ms int not null default 0,
  crl_number crl_number,
  revoked_count bigint
);
create index crl_generation_events_number on crl_generation_events (issuer_id, crl_number desc nulls last);
create index crl_generation_events_time on crl_generation_events (issuer_id, started_at desc);

create table presign_coverage (
  issuer_id text primary key references issuers,
  inventory bigint not null,
  covered bigint not null,
  at timestamptz not null default now()
);

-- For a CA that numbered its CRLs elsewhere, and after a restore: the next number lies above p_last. Never lowers.
create function raise_crl_number(p_issuer_id text, p_last numeric) returns numeric language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  insert into crl_numbers as n values (p_issuer_id, p_last)
    on conflict (issuer_id) do update set last = greatest(n.last, excluded.last) returning last $$;

-- A number is spent by asking for it: a build that fails leaves a gap, which RFC 5280 allows, never a number twice.
create function next_crl_number(p_issuer_id text) returns numeric language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare number numeric;
begin
  perform raise_crl_number(p_issuer_id, greatest(0,
    (select max(c.crl_number) from crl_cache c where c.issuer_id = p_issuer_id),
    (select max(e.crl_number) from crl_generation_events e where e.issuer_id = p_issuer_id)));
  update crl_numbers set last = last + 1 where issuer_id = p_issuer_id returning last into strict number;
  return number;
end $$;
