-- Which account each site's name stands for. Empty at first: each site is noted when it next stages.
CREATE TABLE springest.site_identity (
    site TEXT NOT NULL,
    host TEXT NOT NULL,
    key_fingerprint VARCHAR(16) NOT NULL,
    first_used_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT site_identity_pkey PRIMARY KEY (site),
    CONSTRAINT site_identity_host_key_fingerprint_key UNIQUE (host, key_fingerprint)
);
COMMENT ON TABLE springest.site_identity IS
    'One row per site: the account that its name stands for, so that no account gets a second name';
COMMENT ON COLUMN springest.site_identity.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.site_identity.host IS 'Host it is at; localhost: a server on the same machine';
COMMENT ON COLUMN springest.site_identity.key_fingerprint IS 'Tells API keys apart without telling them';
COMMENT ON COLUMN springest.site_identity.first_used_at IS 'When it first staged';
COMMENT ON COLUMN springest.site_identity.last_used_at IS 'When it last staged';
