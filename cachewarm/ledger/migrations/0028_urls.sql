-- An empty URL reached certificates as an extension without a value. It never was a URL: such rows get none. The CRL's
-- URL of an issuer with parts stays: it may not be null (0009), and its row must still be able to change.
update issuers set crl_url = case when crl_shards > 0 or delta_crl then crl_url else nullif(crl_url, '') end,
    ocsp_url = nullif(ocsp_url, ''), ca_issuers_url = nullif(ca_issuers_url, '')
 where '' in (crl_url, ocsp_url, ca_issuers_url);
alter table issuers add constraint issuers_urls_are_not_empty
  check ((crl_url <> '' or crl_shards > 0 or delta_crl) and ocsp_url <> '' and ca_issuers_url <> '');
