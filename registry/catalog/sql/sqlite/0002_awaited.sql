-- What manifests refer to and their names do not have: blobs, and an index's
-- children (child is 1). Once a name has it, its rows here become rows of blob_refs
-- or manifest_refs.
CREATE TABLE awaited (
    name_id     INTEGER NOT NULL,
    digest      TEXT    NOT NULL,
    child       INTEGER NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (name_id, digest, child, manifest_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX awaited_manifest ON awaited (manifest_id, digest, child);
