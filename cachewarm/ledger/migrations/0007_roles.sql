-- Two groups without login. The reader (edge, signer) may ask and nothing else; the writer (warmer, admin, commands)
-- changes the tables, but feed, leases and audit chain only through the functions and triggers that keep them true.
-- A later migration that adds a table or function revokes from public and grants in the same way.

do $$
declare
  wanted text;
  f regprocedure;
begin
  foreach wanted in array array['fastocsp_writer', 'fastocsp_reader'] loop
    begin
      if to_regrole(wanted) is null then execute format('create role %I nologin', wanted); end if;
    exception when duplicate_object or unique_violation then null;      -- another database of this server was faster
    end;
    if not pg_has_role(current_user, wanted, 'member') then execute format('grant %I to current_user', wanted); end if;
  end loop;
  for f in select p.oid from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proowner = current_user::regrole
             and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') loop
    execute format('revoke all on function %s from public', f);
  end loop;
end $$;

grant usage on schema public to fastocsp_writer, fastocsp_reader;

grant select (issuer_id, issuer_no, cert_der, unissued_policy, ocsp_url, crl_url, ca_issuers_url, publishes_crl) on issuers
  to fastocsp_reader;
grant select on crl_cache, presign_coverage, feed_position, feed_snapshot to fastocsp_reader;
grant select (issuer_id, serial_number, not_after, status) on certificates to fastocsp_reader;
grant select (issuer_id, cert_subject, serial_number, not_before, not_after, created_at, cert_der) on ocsp_responder_certs
  to fastocsp_reader;
-- feed_item is the layout that feed_snapshot is made of: it reads nothing.
grant execute on function feed_poll, feed_item to fastocsp_reader;

grant select, insert, update, delete on issuers, certificates, certificate_revocations, ocsp_responder_certs, crl_cache,
  crl_generation_events, presign_coverage, warmer_cursor to fastocsp_writer;
-- `fastocsp db status` is asked by whoever runs the instance.
grant select on schema_migrations to fastocsp_writer;
grant select on feed_position, feed_snapshot, feed_settings, feed_head, revocation_events, edge_lease, audit_events, audit_head,
  crl_numbers to fastocsp_writer;
grant execute on function is_serial_number, feed_item, feed_poll, feed_unacked, feed_horizon, feed_set_horizon, feed_forget,
  feed_trim, audit_append, audit_verify, certificates_settle, next_crl_number, raise_crl_number to fastocsp_writer;
