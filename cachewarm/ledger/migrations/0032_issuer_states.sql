-- States of issuers, and what the CA signer reads (docs/keys.md).
--
-- active; frozen (no certificates are issued, answers and CRLs go on); removed (0033); retired is for a later version.
alter table issuers add column state text not null default 'active'
  check (state in ('active', 'frozen', 'retired', 'removed'));
grant select (state) on issuers to fastocsp_reader;

-- A state changes by issuer_set_state alone, which writes the audit row: it runs as the owner of the table.
create function issuers_keep_their_state() returns trigger language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.state is distinct from old.state
      and current_user is distinct from (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = tg_relid) then
    raise exception 'the state of an issuer is changed by issuer_set_state' using errcode = '42501';
  end if;
  return new;
end $$;
create trigger issuers_state before update of state on issuers for each row execute function issuers_keep_their_state();
alter table issuers enable always trigger issuers_state;

-- Change a state, with its audit row; return the one before, null when there is no such issuer.
create function issuer_set_state(p_issuer_id text, p_state text, p_actor text) returns text language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare former text;
begin
  select i.state into former from issuers i where i.issuer_id = p_issuer_id for no key update;
  if not found then return null; end if;
  if former not in ('active', 'frozen') or p_state not in ('active', 'frozen') then
    raise exception 'issuer % is %: it cannot become %', p_issuer_id, former, p_state using errcode = '22023';
  end if;
  if former <> p_state then
    update issuers set state = p_state where issuer_id = p_issuer_id;
    perform audit_append_rows(array[(p_actor, case p_state when 'frozen' then 'issuer-freeze' else 'issuer-thaw' end, p_issuer_id, null,
        jsonb_build_object('login', session_user))::audit_entry]);
  end if;
  return former;
end $$;

-- To be called in the transaction that enters a certificate which was issued here: the row stays as it is until that
-- transaction ends, so the issuer cannot be frozen between the two. Responder certificates do not come by this way.
create function issuer_require_issuance(p_issuer_id text) returns void language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare found_state text;
begin
  select i.state into found_state from issuers i where i.issuer_id = p_issuer_id for share;
  if found_state is distinct from 'active' then
    raise exception '% is %: it issues no certificates', p_issuer_id, coalesce(found_state, 'not an issuer') using errcode = '23001';
  end if;
end $$;

-- The login of a CA signer is a reader that may also see where keys are. The owner registers
-- one of another name than the catalogue's.
create table ca_signer_logins (login text primary key);
insert into ca_signer_logins values ('fastocsp_ca_signer');

create function ca_signer_register(p_login text, p_actor text) returns void language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if to_regrole(quote_ident(p_login)) is null or not pg_has_role(p_login, 'fastocsp_reader', 'member') then
    raise exception '% is no member of fastocsp_reader', p_login using errcode = '22023';
  end if;
  insert into ca_signer_logins values (p_login) on conflict do nothing;
  if found then
    perform audit_append(p_actor, 'ca-signer-add', null, null, jsonb_build_object('ca_signer_login', p_login));
  end if;
end $$;

create function ca_signer_only() returns void language plpgsql stable
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if not pg_has_role(session_user, 'fastocsp_writer', 'member')
      and not exists (select from ca_signer_logins l where l.login = session_user) then
    raise exception '% is no login of a CA signer: `fastocsp db roles` makes it', session_user using errcode = '42501';
  end if;
end $$;

-- The issuer of that id (or the one that it was merged into), or every issuer whose key is here when it is null.
create function ca_signer_issuers(p_issuer_id text)
  returns table (issuer_id text, subject text, cert_der bytea, key_path text, state text, crl_url text) language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ca_signer_only();
  return query select i.issuer_id, i.subject, i.cert_der, i.key_path, i.state, i.crl_url from issuers i
    where case when p_issuer_id is null then i.merged_into is null and i.state <> 'removed' and i.key_path is not null
      else i.issuer_id = (select coalesce(x.merged_into, x.issuer_id) from issuers x where x.issuer_id = p_issuer_id) end
    order by i.issuer_id;
end $$;

-- What a path from an issuer upwards is made of: issuers by the text of their subject, every certificate of an issuer,
-- and the reason for which a serial number is revoked.
create function ca_signer_named(p_subject text)
  returns table (issuer_id text, subject text, cert_der bytea, key_path text, state text, crl_url text) language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ca_signer_only();
  return query select i.issuer_id, i.subject, i.cert_der, i.key_path, i.state, i.crl_url from issuers i
    where i.subject = p_subject and i.merged_into is null order by i.issuer_id;
end $$;
create function ca_signer_certificates(p_issuer_id text) returns setof bytea language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ca_signer_only();
  return query select c.cert_der from issuer_certificates c where c.issuer_id = p_issuer_id;
end $$;
create function ca_signer_revoked(p_issuer_id text, p_serial_number bytea) returns smallint language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ca_signer_only();
  return (select r.reason from certificate_revocations r where r.issuer_id = p_issuer_id and r.serial_number = p_serial_number);
end $$;

-- The last CRL number that was spent (part null), and those of the published CRLs: '' is the complete one.
create function ca_signer_crl_numbers(p_issuer_id text) returns table (part text, crl_number text) language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  perform ca_signer_only();
  return query select null::text, n.last::text from crl_numbers n where n.issuer_id = p_issuer_id
    union all select '', c.crl_number::text from crl_cache c where c.issuer_id = p_issuer_id
    union all select p.part, p.crl_number::text from crl_parts p where p.issuer_id = p_issuer_id;
end $$;

alter table issuer_faults drop constraint issuer_faults_work_check,
  add constraint issuer_faults_work_check check (work in ('responder', 'walk', 'orphans', 'ca-signer'));

revoke all on function issuers_keep_their_state, issuer_set_state, issuer_require_issuance, ca_signer_register, ca_signer_only, ca_signer_issuers,
  ca_signer_named, ca_signer_certificates, ca_signer_revoked, ca_signer_crl_numbers from public;
grant execute on function issuer_set_state, issuer_require_issuance to fastocsp_writer;
grant execute on function ca_signer_issuers, ca_signer_named, ca_signer_certificates, ca_signer_revoked, ca_signer_crl_numbers
  to fastocsp_writer, fastocsp_reader;
