-- Where the blobs are that the catalog knows; empty while nobody has said so.
ALTER TABLE meta ADD COLUMN blobs TEXT NOT NULL DEFAULT '';
