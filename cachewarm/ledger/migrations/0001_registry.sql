-- The registry: which issuers there are, which certificates they issued.
--
-- A serial number is its magnitude's octets, without leading zero octets (RFC 5280 4.1.2.2: at most 20).
-- certificates.status is for people and for runbooks; what an answer says is decided by certificate_revocations (0004).

create function is_serial_number(octets bytea) returns bool language sql immutable strict parallel safe
  return octet_length(octets) between 1 and 20 and (get_byte(octets, 0) <> 0 or octet_length(octets) = 1);

create table issuers (
  issuer_id text primary key check (issuer_id ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  issuer_no smallint generated always as identity unique check (issuer_no >= 1),   -- names the issuer in the feed
  subject text not null,
  cert_der bytea not null,
  key_path text,
  responder_mode text not null default 'delegated' check (responder_mode in ('delegated', 'external')),
  ocsp_url text,
  crl_url text,
  ca_issuers_url text,
  unissued_policy text not null default 'unauthorized'
    check (unissued_policy in ('unauthorized', 'unknown', 'good', 'extended-revoke')),
  publishes_crl bool not null default true,
  created_at timestamptz not null default now()
);
create unique index issuers_certificate on issuers (sha256(cert_der));

create table certificates (
  issuer_id text not null references issuers,
  serial_number bytea not null check (is_serial_number(serial_number)),
  subject text not null default '',
  not_before timestamptz not null check (isfinite(not_before)),
  not_after timestamptz not null check (isfinite(not_after)),
  status text not null default 'good' check (status in ('good', 'revoked')),
  cert_der bytea,
  created_at timestamptz not null default now(),
  primary key (issuer_id, serial_number)
) with (fillfactor = 85);

-- Every event of the feed names its issuer by issuer_no: the two names of an issuer stay together for ever.
create function issuers_keep_their_names() returns trigger language plpgsql as $$
begin
  if (new.issuer_id, new.issuer_no) is distinct from (old.issuer_id, old.issuer_no) then
    raise exception 'issuer_id and issuer_no of an issuer never change' using errcode = '23001';
  end if;
  return new;
end $$;
create trigger issuers_names before update on issuers for each row execute function issuers_keep_their_names();
alter table issuers enable always trigger issuers_names;

create function refuse_statement() returns trigger language plpgsql as $$
begin
  raise exception '% of % is forbidden', tg_op, tg_table_name using errcode = '23001';
end $$;
