CREATE TABLE awaited (
    name_id     BIGINT NOT NULL,
    digest      TEXT COLLATE "C" NOT NULL,
    child       BIGINT NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (name_id, digest, child, manifest_id)
);
CREATE INDEX awaited_manifest ON awaited (manifest_id, digest, child);
