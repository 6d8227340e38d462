-- The audit chain also has what plain SQL does to certificates, issuers and responders: a row for each statement and issuer,
-- written by triggers. Until now issuance left no row at all, and a change of an issuer said nothing about what changed.
-- These rows wait in audit_pending until a warmer or a command puts them into the chain: the chain is written under the
-- ledger's lock, which is held to COMMIT, and a long transaction that enters certificates must not delay revocations.

create table audit_pending (
  id bigint generated always as identity primary key,
  entry audit_entry not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create trigger audit_pending_never_changed before update on audit_pending for each statement execute function refuse_statement();
create trigger audit_pending_never_truncated before truncate on audit_pending for each statement execute function refuse_statement();
alter table audit_pending enable always trigger audit_pending_never_changed, enable always trigger audit_pending_never_truncated;

create function audit_note(entries audit_entry[]) returns void language sql
  set search_path = pg_catalog, public, pg_temp
  as $$ insert into audit_pending (entry) select (u.actor, u.action, u.issuer_id, u.serial_number, u.detail)::audit_entry
           from unnest(entries) with ordinality u(actor, action, issuer_id, serial_number, detail, o) order by u.o $$;

create function audit_take_pending(p_most int) returns audit_entry[] language sql volatile
  set search_path = pg_catalog, public, pg_temp as $$
  with gone as (delete from audit_pending where id in (select id from audit_pending order by id limit p_most) returning id, entry)
  select coalesce(array_agg(entry order by id), '{}') from gone $$;

-- As in 0025, and without what waits; the ledger's lock is held.
create function audit_chain(entries audit_entry[]) returns bigint language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare
  s bigint;
  h bytea;
  before bytea;
  covered bytea[];
  one bytea;
  hashes bytea[] := '{}';
  t timestamptz := clock_timestamp();
begin
  select seq, hash into strict s, before from audit_head;
  select array_agg(int8send(s + e.n) || int8send((extract(epoch from t) * 1000000)::int8)
      || audit_field(convert_to(e.actor, 'UTF8')) || audit_field(convert_to(e.action, 'UTF8'))
      || audit_field(convert_to(e.issuer_id, 'UTF8')) || audit_field(e.serial_number)
      || audit_field(convert_to(e.detail::text, 'UTF8')) order by e.n) into strict covered
    from unnest(entries) with ordinality e(actor, action, issuer_id, serial_number, detail, n);
  h := before;
  foreach one in array covered loop
    h := sha256(h || one);
    hashes := hashes || h;
  end loop;
  insert into audit_events (seq, at, actor, action, issuer_id, serial_number, detail, prev_hash, hash)
    select s + e.n, t, e.actor, e.action, e.issuer_id, e.serial_number, e.detail,
           lag(e.hash, 1, before) over (order by e.n), e.hash
      from rows from (unnest(entries), unnest(hashes)) with ordinality e(actor, action, issuer_id, serial_number, detail, hash, n);
  s := s + cardinality(entries);
  update audit_head set seq = s, hash = h;
  return s;
end $$;

-- What waits comes first, so that a certificate is issued before it is revoked.
create or replace function audit_append_rows(entries audit_entry[]) returns bigint language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if coalesce(cardinality(entries), 0) = 0 then return null; end if;
  perform ledger_lock();
  if exists (select from audit_pending) then
    entries := audit_take_pending(1000) || entries;
  end if;
  return audit_chain(entries);
end $$;

-- Put up to p_most rows that wait into the chain, in the order in which they were entered. Returns how many there were.
create function audit_settle(p_most int default 1000) returns int language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare entries audit_entry[];
begin
  if not exists (select from audit_pending) then return 0; end if;
  perform ledger_lock();
  entries := audit_take_pending(p_most);
  if cardinality(entries) > 0 then perform audit_chain(entries); end if;
  return cardinality(entries);
end $$;

create function audit_origin() returns jsonb language sql volatile
  return jsonb_build_object('login', session_user, 'application', current_setting('application_name', true),
    'entered_at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));

-- Of one certificate its serial number; of several their count, the first and last one, and the hash of all in ascending
-- order, by which an export of the registry proves that it has them.
create function audit_certificates(p_action text, p_issuer_id text, p_serial_numbers bytea[], p_detail jsonb) returns audit_entry
  language sql volatile
  return (acting(), p_action, p_issuer_id, case when cardinality(p_serial_numbers) = 1 then p_serial_numbers[1] end,
          audit_origin() || p_detail || case when cardinality(p_serial_numbers) = 1 then '{}' else jsonb_build_object(
            'certificates', cardinality(p_serial_numbers), 'first', encode(p_serial_numbers[1], 'hex'),
            'last', encode(p_serial_numbers[cardinality(p_serial_numbers)], 'hex'),
            'serials_sha256', encode(sha256(array_to_string(array(select encode(s, 'hex') from unnest(p_serial_numbers) s), ',')::bytea), 'hex'))
          end)::audit_entry;

create function certificates_entered() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select audit_certificates('certificate', n.issuer_id, array_agg(n.serial_number order by n.serial_number), '{}')
      from newt n group by n.issuer_id order by n.issuer_id));
  return null;
end $$;

-- By the row, as a statement may not look at columns and at rows; a revocation changes none of these columns.
create function certificate_changed() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array[(acting(), 'certificate-change', new.issuer_id, new.serial_number,
    audit_changes(audit_row(to_jsonb(old), old.cert_der), audit_row(to_jsonb(new), new.cert_der)))::audit_entry]);
  return null;
end $$;

create function certificates_gone() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select audit_certificates('certificate-delete', o.issuer_id, array_agg(o.serial_number order by o.serial_number), '{}')
      from oldt o group by o.issuer_id order by o.issuer_id));
  return null;
end $$;

create trigger certificates_entered after insert on certificates referencing new table as newt
  for each statement execute function certificates_entered();
create trigger certificate_changed after update of subject, not_before, not_after, cert_der on certificates for each row
  when ((old.subject, old.not_before, old.not_after, old.cert_der) is distinct from (new.subject, new.not_before, new.not_after, new.cert_der))
  execute function certificate_changed();
create trigger certificates_gone after delete on certificates referencing old table as oldt
  for each statement execute function certificates_gone();
alter table certificates enable always trigger certificates_entered, enable always trigger certificate_changed,
  enable always trigger certificates_gone;

-- A row as an auditor reads it: a certificate by its hash, columns without a value left out.
create function audit_row(p_row jsonb, p_cert_der bytea) returns jsonb language sql immutable
  return jsonb_strip_nulls(p_row - 'cert_der' || jsonb_build_object('cert_sha256', encode(sha256(p_cert_der), 'hex')));

-- Of an issuer or a responder the columns that changed, before and after; p_before null: it is new, p_after null: it is gone.
create function audit_changes(p_before jsonb, p_after jsonb) returns jsonb language sql volatile
  return audit_origin()
    || case when p_before is null then '{}' else jsonb_build_object('before', coalesce((select jsonb_object_agg(key, value)
         from jsonb_each(p_before) where p_after is null or p_after -> key is distinct from value), '{}')) end
    || case when p_after is null then '{}' else jsonb_build_object('after', coalesce((select jsonb_object_agg(key, value)
         from jsonb_each(p_after) where p_before is null or p_before -> key is distinct from value), '{}')) end;

create function issuers_entered() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'issuer', n.issuer_id, null, audit_changes(null, audit_row(to_jsonb(n), n.cert_der)))::audit_entry
      from newt n order by n.issuer_no));
  return null;
end $$;

create function issuers_changed() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'issuer', n.issuer_id, null,
            audit_changes(audit_row(to_jsonb(o), o.cert_der), audit_row(to_jsonb(n), n.cert_der)))::audit_entry
      from newt n join oldt o using (issuer_no) where n is distinct from o order by n.issuer_no));
  return null;
end $$;

create function issuers_gone() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'issuer-delete', o.issuer_id, null, audit_changes(audit_row(to_jsonb(o), o.cert_der), null))::audit_entry
      from oldt o order by o.issuer_no));
  return null;
end $$;

create trigger issuers_entered after insert on issuers referencing new table as newt
  for each statement execute function issuers_entered();
create trigger issuers_changed after update on issuers referencing old table as oldt new table as newt
  for each statement execute function issuers_changed();
create trigger issuers_gone after delete on issuers referencing old table as oldt
  for each statement execute function issuers_gone();
alter table issuers enable always trigger issuers_entered, enable always trigger issuers_changed, enable always trigger issuers_gone;

create function responders_entered() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'responder', n.issuer_id, n.serial_number,
            audit_changes(null, audit_row(to_jsonb(n), n.cert_der)))::audit_entry
      from newt n order by n.issuer_id, n.serial_number));
  return null;
end $$;

create function responders_changed() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'responder', n.issuer_id, n.serial_number,
            audit_changes(audit_row(to_jsonb(o), o.cert_der), audit_row(to_jsonb(n), n.cert_der)))::audit_entry
      from newt n join oldt o using (issuer_id, serial_number) where n is distinct from o order by n.issuer_id, n.serial_number));
  return null;
end $$;

create function responders_gone() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform audit_note(array(
    select (acting(), 'responder-delete', o.issuer_id, o.serial_number,
            audit_changes(audit_row(to_jsonb(o), o.cert_der), null))::audit_entry
      from oldt o order by o.issuer_id, o.serial_number));
  return null;
end $$;

create trigger responders_entered after insert on ocsp_responder_certs referencing new table as newt
  for each statement execute function responders_entered();
create trigger responders_changed after update on ocsp_responder_certs referencing old table as oldt new table as newt
  for each statement execute function responders_changed();
create trigger responders_gone after delete on ocsp_responder_certs referencing old table as oldt
  for each statement execute function responders_gone();
alter table ocsp_responder_certs enable always trigger responders_entered, enable always trigger responders_changed,
  enable always trigger responders_gone;

revoke all on audit_pending from public;
revoke all on function audit_settle from public;
grant execute on function audit_settle to fastocsp_writer;
revoke all on function audit_note, audit_chain, audit_certificates, audit_row, audit_changes, audit_origin, audit_take_pending, certificates_entered,
  certificate_changed, certificates_gone, issuers_entered, issuers_changed, issuers_gone, responders_entered, responders_changed,
  responders_gone from public;
