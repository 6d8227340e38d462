-- A restored dump may be older than what edges have heard, and they never follow a lower generation. Whoever restores
-- one begins a generation above every one that was in use. Leases of the time before may be missing from the dump: as
-- after a promotion, a row that acknowledges nothing stands for them until they have run out.

create function feed_begin_generation(p_above bigint) returns bigint language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare g bigint;
begin
  perform ledger_lock();
  perform feed_current_head();
  update feed_head set generation = greatest(generation, p_above) + 1 returning generation into strict g;
  insert into edge_lease select '(leases before generation ' || g || ')', gen_random_uuid(), feed_horizon(), 0, 0;
  return g;
end $$;

revoke all on function feed_begin_generation(bigint) from public;
grant execute on function feed_begin_generation(bigint) to fastocsp_writer;
