-- A waiter asks for the barrier for a fifth of a second at most. Behind one who asks for longer every poll would queue: a
-- single poll whose backend hangs, and somebody who waits for it, would cost every edge its lease. SQLSTATE 55P03: not
-- now, ask again, and let the polls have their turn first.

create or replace function feed_unacked(p_gen bigint, p_seq bigint) returns setof edge_lease language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp set lock_timeout = '200ms' as $$
begin
  perform pg_advisory_xact_lock(hashtext('fastocsp.lease'));
  perform feed_current_head();
  delete from edge_lease l where l.edge like '(leases before generation %)' and l.at < clock_timestamp() - 1.01 * l.horizon - interval '1 second';
  return query select * from edge_lease l where (l.acked_gen, l.acked) < (p_gen, p_seq);
end $$;
