-- A removed issuer is answered for no more: no OCSP, no CRL, nothing is signed. Its rows stay, for the audit and for a way back.

-- Remove an issuer; return its state before, null when there is no such issuer. Certificates that are valid and not revoked
-- would lose their status, so p_force must say that this is meant. Those of its own responders go with it.
create function issuer_remove(p_issuer_id text, p_force bool, p_actor text) returns text language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  former text;
  living bigint;
begin
  select i.state into former from issuers i where i.issuer_id = p_issuer_id for no key update;
  if not found or former = 'removed' then return former; end if;
  select count(*) into living from certificates c
    where c.issuer_id = p_issuer_id and c.not_after > now() and c.status = 'good'
      and not exists (select from ocsp_responder_certs r where (r.issuer_id, r.serial_number) = (c.issuer_id, c.serial_number));
  if living > 0 and not p_force then
    raise exception '% has % certificates that are valid: their status would be answered no more', p_issuer_id, living
      using errcode = '23001';
  end if;
  update issuers set state = 'removed' where issuer_id = p_issuer_id;
  delete from issuer_faults where issuer_id = p_issuer_id;
  perform audit_append_rows(array[(p_actor, 'issuer-remove', p_issuer_id, null,
      jsonb_build_object('login', session_user, 'valid_certificates', living))::audit_entry]);
  return former;
end $$;

-- Bring it back, frozen; return its state before, null when there is no such issuer.
create function issuer_restore(p_issuer_id text, p_actor text) returns text language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare former text;
begin
  select i.state into former from issuers i where i.issuer_id = p_issuer_id for no key update;
  if not found or former <> 'removed' then return former; end if;
  update issuers set state = 'frozen' where issuer_id = p_issuer_id;
  perform audit_append_rows(array[(p_actor, 'issuer-restore', p_issuer_id, null,
      jsonb_build_object('login', session_user))::audit_entry]);
  return former;
end $$;

revoke all on function issuer_remove, issuer_restore from public;
grant execute on function issuer_remove, issuer_restore to fastocsp_writer;
