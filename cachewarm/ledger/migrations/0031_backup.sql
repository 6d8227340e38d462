-- A login that backs up reads everything and changes nothing: a third group without login, fastocsp_reads_all.
--
-- Making a role needs CREATEROLE, and an owner without it must still be able to migrate: then there is no such group
-- until a DBA has run what `fastocsp db roles --sql` prints, which calls the function.

-- What later migrations make is readable too. False: there is no group.
create function grant_reading() returns bool language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
declare owner name := (select pg_get_userbyid(relowner) from pg_class where oid = 'public.issuers'::regclass);
begin
  if to_regrole('fastocsp_reads_all') is null then return false; end if;
  grant usage on schema public to fastocsp_reads_all;
  grant select on all tables in schema public to fastocsp_reads_all;
  grant select on all sequences in schema public to fastocsp_reads_all;
  execute format('alter default privileges for role %I in schema public grant select on tables to fastocsp_reads_all', owner);
  execute format('alter default privileges for role %I in schema public grant select on sequences to fastocsp_reads_all', owner);
  return true;
end $$;
revoke all on function grant_reading from public;

do $$
begin
  begin
    if to_regrole('fastocsp_reads_all') is null then create role fastocsp_reads_all nologin; end if;
  exception when insufficient_privilege or duplicate_object or unique_violation then null;
  end;
  perform grant_reading();
end $$;
