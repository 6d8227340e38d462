-- Sources of mirrored CRLs: issuers that switch to one, CRLs without a number, and what was left out of a CRL.

alter table issuers add column accept_unnumbered bool not null default false;

alter table crl_generation_events add column remarks text;     -- what was left out of a CRL that was taken
alter table crl_mirrors add column skipped bigint not null default 0, add column remarks text;

-- An issuer that got a source later keeps its status as it was until the first CRL of that source is taken: a row of
-- crl_mirrors would end every `good` at once. What crl_mirrors remembers of the attempts is here until then.
create table crl_sources_waiting (
  issuer_id text primary key references issuers,
  tried_at timestamptz,
  failures int not null default 0
);

create or replace function issuers_are_mirrored() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.crl_source is null then return null; end if;
  if tg_op = 'INSERT' or exists (select from crl_mirrors m where m.issuer_id = new.issuer_id) then
    insert into crl_mirrors (issuer_id) values (new.issuer_id)      -- another source is fetched at once, and in whole
      on conflict (issuer_id) do update set etag = null, last_modified = null, tried_at = null;
  else
    insert into crl_sources_waiting (issuer_id) values (new.issuer_id)
      on conflict (issuer_id) do update set tried_at = null, failures = 0;
  end if;
  return null;
end $$;

-- With the first CRL of its source an issuer's status comes from there; in the transaction that takes the CRL.
create function mirror_begin(p_issuer_id text) returns void language sql security definer
  set search_path = pg_catalog, public, pg_temp as $$
  insert into crl_mirrors (issuer_id, tried_at, failures)
    select w.issuer_id, w.tried_at, w.failures from crl_sources_waiting w where w.issuer_id = p_issuer_id
    on conflict (issuer_id) do nothing;
  delete from crl_sources_waiting w where w.issuer_id = p_issuer_id $$;

revoke all on function mirror_begin from public;
grant execute on function mirror_begin to fastocsp_writer;
grant select on crl_sources_waiting to fastocsp_writer;
grant update on crl_sources_waiting to fastocsp_writer;
