-- How often an operator accepted that a CA's numbering began again: edges take a lower CRL number when this has grown.

alter table crl_mirrors add column renumberings bigint not null default 0;
