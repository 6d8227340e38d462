-- An issuer is a name and a key. It may have several certificates (renewals, cross-certificates), but no other issuer may
-- have the same name and key: a CertID names both by these two alone (RFC 6960 4.1.1), and CRL numbers grow per name and
-- key (RFC 5280 5.2.3). issuers.cert_der stays what it was, now the certificate that lasts longest.

create function der_element(der bytea, at int, out content int, out next int) language plpgsql immutable strict
  set search_path = pg_catalog, pg_temp as $$
declare n int := get_byte(der, at + 1);
begin
  content := at + 2;
  if n >= 128 then
    if n not between 129 and 131 then raise exception 'not DER'; end if;
    content := content + n - 128;
    n := 0;
    for i in at + 2 .. content - 1 loop n := n * 256 + get_byte(der, i); end loop;
  end if;
  next := content + n;
  if next > octet_length(der) then raise exception 'not DER'; end if;
end $$;

-- Where the element `nth` of the TBSCertificate begins: 1 serialNumber, 4 validity, 5 subject, 6 subjectPublicKeyInfo.
create function certificate_element(cert_der bytea, nth int) returns int language plpgsql immutable strict
  set search_path = pg_catalog, public, pg_temp as $$
declare at int := (der_element(cert_der, (der_element(cert_der, 0)).content)).content;
begin
  if get_byte(cert_der, at) = 160 then at := (der_element(cert_der, at)).next; end if;      -- version [0]
  for i in 2 .. nth loop at := (der_element(cert_der, at)).next; end loop;
  return at;
end $$;

-- SHA-256 of the subject's DER and of the key's bits, as CertIDs are made of these; of the whole where it is no
-- certificate.
create function issuer_identity(cert_der bytea) returns bytea language plpgsql immutable strict
  set search_path = pg_catalog, public, pg_temp as $$
declare
  subject int;
  spki int;
  bits int;
begin
  subject := certificate_element(cert_der, 5);
  spki := (der_element(cert_der, subject)).next;
  bits := (der_element(cert_der, (der_element(cert_der, spki)).content)).next;      -- behind the AlgorithmIdentifier
  return sha256(substr(cert_der, subject + 1, spki - subject)
    || substr(cert_der, (der_element(cert_der, bits)).content + 2, (der_element(cert_der, bits)).next - (der_element(cert_der, bits)).content - 1));
exception when others then
  return sha256(cert_der);
end $$;

-- notAfter; null where it is no certificate. RFC 5280 4.1.2.5: UTCTime 50 to 99 is 1950 to 1999.
create function certificate_not_after(cert_der bytea) returns timestamptz language plpgsql immutable strict
  set search_path = pg_catalog, public, pg_temp as $$
declare
  at int;
  digits text;
begin
  at := (der_element(cert_der, (der_element(cert_der, certificate_element(cert_der, 4))).content)).next;
  digits := rtrim(convert_from(substr(cert_der, (der_element(cert_der, at)).content + 1,
    (der_element(cert_der, at)).next - (der_element(cert_der, at)).content), 'SQL_ASCII'), 'Z');
  if length(digits) = 12 then digits := case when digits < '50' then '20' else '19' end || digits; end if;
  return make_timestamptz(substr(digits, 1, 4)::int, substr(digits, 5, 2)::int, substr(digits, 7, 2)::int,
    substr(digits, 9, 2)::int, substr(digits, 11, 2)::int, substr(digits, 13, 2)::float8, 'UTC');
exception when others then
  return null;
end $$;

create table issuer_certificates (
  issuer_id text not null references issuers,
  sha256 bytea not null unique,
  cert_der bytea not null,
  not_after timestamptz,
  added_at timestamptz not null default now(),
  primary key (issuer_id, sha256)
);
insert into issuer_certificates select issuer_id, sha256(cert_der), cert_der, certificate_not_after(cert_der) from issuers;

-- An issuer that turned out to be another one's twin: what it knew is that one's, its id stays as another name of it.
alter table issuers add column merged_into text references issuers;

-- A merged twin keeps its certificate, which may now be its issuer's newest: which one is whose is in the table above.
drop index issuers_certificate;

do $$
declare
  twin record;
  moved bigint;
  revoked bigint;
begin
  for twin in
    select * from (
      select i.issuer_id, i.key_path, i.cert_der, i.crl_source, i.delta_source, i.publishes_crl,
             first_value(i.issuer_id) over (partition by issuer_identity(i.cert_der) order by i.issuer_no) as into_id
        from issuers i) t
      where t.issuer_id <> t.into_id order by t.into_id, t.issuer_id
  loop
    insert into certificates (issuer_id, serial_number, subject, not_before, not_after, cert_der, created_at)
      select twin.into_id, serial_number, subject, not_before, not_after, cert_der, created_at
        from certificates where issuer_id = twin.issuer_id on conflict do nothing;
    get diagnostics moved = row_count;
    -- The strongest wins: keyCompromise, then any permanent reason, then a hold; the earliest time.
    insert into certificate_revocations as r (issuer_id, serial_number, revoked_at, reason, invalidity_date, revoked_by)
      select twin.into_id, serial_number, revoked_at, reason, invalidity_date, revoked_by
        from certificate_revocations where issuer_id = twin.issuer_id
      on conflict (issuer_id, serial_number) do update
        set reason = case when r.reason = 6 or excluded.reason = 1 then excluded.reason else r.reason end,
            revoked_at = case when r.reason = 6 and excluded.reason <> 6 then excluded.revoked_at
                              when excluded.reason = 6 and r.reason <> 6 then r.revoked_at
                              else least(r.revoked_at, excluded.revoked_at) end,
            invalidity_date = least(r.invalidity_date, excluded.invalidity_date);
    get diagnostics revoked = row_count;
    perform raise_crl_number(twin.into_id, greatest(
      (select last from crl_numbers where issuer_id = twin.issuer_id),
      (select crl_number from crl_cache where issuer_id = twin.issuer_id),
      (select max(crl_number) from crl_parts where issuer_id = twin.issuer_id), 0));
    update issuer_certificates set issuer_id = twin.into_id where issuer_id = twin.issuer_id;
    -- Where the CRL of one of the two is fetched, its entries go on coming; where the first one makes its own, it goes on.
    update issuers set crl_source = twin.crl_source, delta_source = twin.delta_source, publishes_crl = twin.publishes_crl
      where issuer_id = twin.into_id and twin.crl_source is not null and crl_source is null
        and not (publishes_crl and key_path is not null) and crl_shards = 0 and not delta_crl;
    update issuers set key_path = coalesce(key_path, twin.key_path) where issuer_id = twin.into_id;
    -- What can be made again goes: no process looks for the twin any more.
    delete from ocsp_responder_certs where issuer_id = twin.issuer_id;
    delete from crl_cache where issuer_id = twin.issuer_id;
    delete from crl_parts where issuer_id = twin.issuer_id;
    delete from presign_coverage where issuer_id = twin.issuer_id;
    update issuers set merged_into = twin.into_id, publishes_crl = false where issuer_id = twin.issuer_id;
    perform audit_append('migration', 'merge', twin.issuer_id, null,
      jsonb_build_object('into', twin.into_id, 'certificates', moved, 'revocations', revoked));
    raise warning 'issuer % has the name and key of %: merged into it, % certificates and % revocations',
      twin.issuer_id, twin.into_id, moved, revoked;
  end loop;
  update issuers i set cert_der = c.cert_der from (
      select distinct on (issuer_id) issuer_id, cert_der from issuer_certificates
        order by issuer_id, not_after desc nulls last, added_at desc) c
    where c.issuer_id = i.issuer_id and c.cert_der <> i.cert_der and i.merged_into is null
      and exists (select from issuers m where m.merged_into = i.issuer_id);
end $$;

create unique index issuers_identity on issuers (issuer_identity(cert_der)) where merged_into is null;
create unique index issuers_certificate on issuers (sha256(cert_der)) where merged_into is null;

-- Another name of an issuer writes into that issuer. Only where there is one: each row pays for it.
create function belongs_to_the_merged() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  new.issuer_id := coalesce((select i.merged_into from issuers i where i.issuer_id = new.issuer_id), new.issuer_id);
  return new;
end $$;
do $$
begin
  if exists (select from issuers where merged_into is not null) then
    create trigger revocations_of_the_merged before insert on certificate_revocations
      for each row execute function belongs_to_the_merged();
    create trigger certificates_of_the_merged before insert on certificates
      for each row execute function belongs_to_the_merged();
    alter table certificate_revocations enable always trigger revocations_of_the_merged;
    alter table certificates enable always trigger certificates_of_the_merged;
  end if;
end $$;

create function issuers_keep_their_identity() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if issuer_identity(new.cert_der) <> issuer_identity(old.cert_der) then
    raise exception 'name and key of issuer % never change: another key is another issuer', old.issuer_id using errcode = '23001';
  end if;
  return new;
end $$;
create trigger issuers_identity before update of cert_der on issuers for each row execute function issuers_keep_their_identity();
alter table issuers enable always trigger issuers_identity;

create function issuers_have_certificates() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into issuer_certificates values (new.issuer_id, sha256(new.cert_der), new.cert_der, certificate_not_after(new.cert_der))
    on conflict do nothing;
  return null;
end $$;
create trigger issuers_certificates after insert or update of cert_der on issuers
  for each row execute function issuers_have_certificates();
alter table issuers enable always trigger issuers_certificates;

-- Certificates made here are in the inventory, the responders' own too: a policy for what was never issued must not
-- answer for them. (A CA that signs answers itself was issued by its parent.)
insert into certificates (issuer_id, serial_number, subject, not_before, not_after, cert_der)
  select r.issuer_id, r.serial_number, r.cert_subject, r.not_before, r.not_after, r.cert_der
    from ocsp_responder_certs r join issuers i using (issuer_id)
   where i.merged_into is null and not exists (select from issuer_certificates c where c.sha256 = sha256(r.cert_der))
  on conflict do nothing;

revoke all on function der_element, certificate_element, issuer_identity, certificate_not_after, issuers_keep_their_identity,
  issuers_have_certificates, belongs_to_the_merged from public;
grant execute on function der_element, certificate_element, issuer_identity, certificate_not_after to fastocsp_writer;
grant select, insert on issuer_certificates to fastocsp_writer;
grant select (merged_into) on issuers to fastocsp_reader;
