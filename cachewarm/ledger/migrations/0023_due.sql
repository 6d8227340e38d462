-- What is new, without reading what is old: certificates by the transaction that entered them, and a log of changes to
-- issuers. Readers keep the snapshot of their last reading and read what it could not see, so the order of commits does
-- not matter, and no writer waits for another one.

-- Null: entered before this migration. The default is set in a step of its own, or every row would be written again.
alter table certificates add column entered xid8;
alter table certificates alter column entered set default pg_current_xact_id();
create index certificates_entered on certificates (entered) where entered is not null;

-- A certificate whose end changed counts as new: its records must be signed again.
create function certificate_enters() returns trigger language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
begin
  new.entered := pg_current_xact_id();
  return new;
end $$;
create trigger certificates_enter before update on certificates for each row
  when (new.not_after is distinct from old.not_after) execute function certificate_enters();
alter table certificates enable always trigger certificates_enter;

-- One row per issuer and statement that changed a row of `about`: what the issuer is and who signs for it ('issuer': its
-- row, its certificates, its responders, its mirrored CRL's window), what it publishes ('crl'), where its CRLs come from
-- ('mirror').
create table issuer_changes (
  entered xid8 not null default pg_current_xact_id(),
  about text not null,
  issuer_id text not null,
  at timestamptz not null default now()
);
create index issuer_changes_entered on issuer_changes (entered);

create index issuers_mirrored on issuers (issuer_id) where crl_source is not null;

create function issuer_changed() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare kind text;
begin
  foreach kind in array tg_argv loop
    insert into issuer_changes (about, issuer_id) select distinct kind, r.issuer_id from changed r;
  end loop;
  return null;
end $$;

do $$
declare
  watched record;
begin
  for watched in select * from (values
      ('issuers', '''issuer'', ''crl'', ''mirror'''), ('issuer_certificates', '''issuer'''), ('ocsp_responder_certs', '''issuer'''),
      ('crl_cache', '''crl'', ''mirror'''), ('crl_parts', '''crl'', ''mirror'''),
      ('crl_mirrors', '''issuer'', ''mirror'''), ('crl_sources_waiting', '''mirror''')) w(name, kinds)
  loop
    execute format('create trigger %1$s_in after insert on %1$I referencing new table as changed
      for each statement execute function issuer_changed(%2$s)', watched.name, watched.kinds);
    execute format('create trigger %1$s_up after update on %1$I referencing new table as changed
      for each statement execute function issuer_changed(%2$s)', watched.name, watched.kinds);
    execute format('create trigger %1$s_out after delete on %1$I referencing old table as changed
      for each statement execute function issuer_changed(%2$s)', watched.name, watched.kinds);
    execute format('alter table %1$I enable always trigger %1$s_in, enable always trigger %1$s_up, enable always trigger %1$s_out', watched.name);
  end loop;
end $$;

revoke all on function certificate_enters, issuer_changed from public;
grant select on issuer_changes to fastocsp_reader, fastocsp_writer;
grant delete on issuer_changes to fastocsp_writer;
