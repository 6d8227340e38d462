-- What keeps a process from doing its work for one issuer, while it does it for the others. A row goes when the fault does;
-- deleting one is safe at any time.

create table issuer_faults (
  issuer_id text not null references issuers,
  work text not null check (work in ('responder', 'walk')),
  fault text not null,
  since timestamptz not null default now(),
  at timestamptz not null default now(),
  failures bigint not null default 1,
  primary key (issuer_id, work)
) with (fillfactor = 50);

grant select (issuer_id, work) on issuer_faults to fastocsp_reader;
grant select, insert, update, delete on issuer_faults to fastocsp_writer;
