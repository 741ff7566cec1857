DROP TABLE springest.site_identity;
