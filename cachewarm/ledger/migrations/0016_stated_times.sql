-- A revocation time that is slightly ahead (clocks of CAs differ by seconds) is set to now where it comes in, for every
-- path in; what was stated is kept beside it. More than a minute ahead is refused as before: it would revoke now what was
-- meant for later.

alter table certificate_revocations add column stated_time timestamptz;

create function revocations_clamp() returns trigger language plpgsql as $$
declare present timestamptz := clock_timestamp();
begin
  if new.revoked_at > present and new.revoked_at <= present + interval '60 seconds' then
    new.stated_time := new.revoked_at;
    new.revoked_at := present;
  end if;
  return new;
end $$;

-- The same statement again, which a mirrored CRL makes with each of its issues: the time stays as it was set then.
create function revocations_stay_clamped() returns trigger language plpgsql as $$
begin
  new.revoked_at := old.revoked_at;
  return new;
end $$;

create trigger revocations_clamped before insert on certificate_revocations
  for each row when (new.revoked_at > now()) execute function revocations_clamp();
create trigger revocations_clamped_again before update of revoked_at on certificate_revocations
  for each row when (new.revoked_at > now() and old.stated_time is null) execute function revocations_clamp();
create trigger revocations_stay_clamped before update of revoked_at on certificate_revocations
  for each row when (new.revoked_at > old.revoked_at and new.revoked_at <= old.stated_time)
  execute function revocations_stay_clamped();
alter table certificate_revocations enable always trigger revocations_clamped;
alter table certificate_revocations enable always trigger revocations_clamped_again;
alter table certificate_revocations enable always trigger revocations_stay_clamped;

revoke all on function revocations_clamp, revocations_stay_clamped from public;
