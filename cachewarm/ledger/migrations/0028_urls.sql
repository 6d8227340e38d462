-- An empty URL reached certificates as an extension without a value. It never was a URL: such rows get none.
update issuers set crl_url = nullif(crl_url, ''), ocsp_url = nullif(ocsp_url, ''), ca_issuers_url = nullif(ca_issuers_url, '')
 where '' in (crl_url, ocsp_url, ca_issuers_url) and crl_shards = 0 and not delta_crl;
alter table issuers add constraint issuers_urls_are_not_empty check (crl_url <> '' and ocsp_url <> '' and ca_issuers_url <> '') not valid;
