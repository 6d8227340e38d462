-- The log of changed issuers has everything that an edge's catalog is made of, so that an edge reads what changed alone.

-- 'catalog': what edges show of an issuer and nothing else follows (the outcomes of its builds and fetches).
create function issuer_outcome() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into issuer_changes (about, issuer_id) select distinct 'catalog', r.issuer_id from changed r;
  return null;
end $$;
create trigger crl_generation_events_in after insert on crl_generation_events referencing new table as changed
  for each statement execute function issuer_outcome();
create trigger crl_generation_events_out after delete on crl_generation_events referencing old table as changed
  for each statement execute function issuer_outcome();
alter table crl_generation_events enable always trigger crl_generation_events_in,
  enable always trigger crl_generation_events_out;

-- An update may move a row to another issuer: both changed.
create function issuer_updated() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare logged text;
begin
  foreach logged in array tg_argv loop
    insert into issuer_changes (about, issuer_id)
      select logged, r.issuer_id from changed r union select logged, r.issuer_id from former r;
  end loop;
  return null;
end $$;

-- Edges look for this function: without it the log lacks kinds of changes, and they read everything each time.
-- No transition table tells what was in a table that was truncated: every issuer may have changed.
create function issuers_emptied() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare logged text;
begin
  foreach logged in array tg_argv loop
    insert into issuer_changes (about, issuer_id) select logged, i.issuer_id from issuers i;
  end loop;
  insert into issuer_changes (about, issuer_id) values ('everything', '');
  return null;
end $$;

do $$
declare
  watched record;
begin
  for watched in select * from (values
      ('issuers', '''issuer'', ''crl'', ''mirror'''), ('issuer_certificates', '''issuer'''), ('ocsp_responder_certs', '''issuer'''),
      ('crl_cache', '''crl'', ''mirror'''), ('crl_parts', '''crl'', ''mirror'''),
      ('crl_mirrors', '''issuer'', ''mirror'''), ('crl_sources_waiting', '''mirror'''),
      ('crl_generation_events', '''catalog''')) w(name, kinds)
  loop
    execute format('drop trigger if exists %1$s_up on %1$I', watched.name);
    execute format('create trigger %1$s_up after update on %1$I referencing old table as former new table as changed
      for each statement execute function issuer_updated(%2$s)', watched.name, watched.kinds);
    execute format('create trigger %1$s_emptied after truncate on %1$I
      for each statement execute function issuers_emptied(%2$s)', watched.name, watched.kinds);
    execute format('alter table %1$I enable always trigger %1$s_up, enable always trigger %1$s_emptied', watched.name);
  end loop;
end $$;

revoke all on function issuer_outcome, issuer_updated, issuers_emptied from public;
