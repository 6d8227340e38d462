-- The place of the feed up to which a CRL made here has the revoked set. Whoever schedules CRLs sees by it what one
-- lacks, also what was revoked while no warmer ran. Null: made elsewhere, or before this column.

alter table crl_cache add column generation bigint, add column seq bigint;
