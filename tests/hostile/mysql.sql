-- What only MySQL has.

USE hostile;

ALTER TABLE shapes ADD with_srid POINT SRID 4326;
UPDATE shapes SET with_srid = ST_GeomFromText('POINT(48.2 16.4)', 4326) WHERE id = 1;
CREATE TABLE with_vector (id INT PRIMARY KEY, v VECTOR(3));
INSERT INTO with_vector VALUES (1, TO_VECTOR('[1, -2.5, 3e10]')), (2, NULL);

SET SESSION sql_generate_invisible_primary_key = ON;
CREATE TABLE with_generated_key (a VARCHAR(9));
INSERT INTO with_generated_key VALUES ('x'), ('y');
INSERT INTO with_generated_key (my_row_id, a) VALUES (77, 'z');
SET SESSION sql_generate_invisible_primary_key = OFF;

ALTER TABLE indexed
  ADD KEY functional ((LOWER(x)), (c + 1)), ADD KEY unseen (d) INVISIBLE, ADD FULLTEXT KEY ngrams (b) WITH PARSER ngram;
CREATE TABLE multi_valued (id INT PRIMARY KEY, j JSON, KEY zips ((CAST(j->'$.zip' AS UNSIGNED ARRAY))));
INSERT INTO multi_valued VALUES (1, '{"zip": [1, 2]}'), (2, NULL);
CREATE TABLE json_in_columns (
  j JSON DEFAULT (JSON_ARRAY(';', '''')), name VARCHAR(30) GENERATED ALWAYS AS (j->>'$."a;b"') STORED, KEY (name));
INSERT INTO json_in_columns (j) VALUES (DEFAULT), ('{"a;b": "é😀"}');
CREATE TABLE default_expressions (
  id BINARY(16) DEFAULT (UUID_TO_BIN(UUID())) PRIMARY KEY, t TEXT DEFAULT ('x;\n''y'), d DATE DEFAULT (CURRENT_DATE + INTERVAL 1 DAY));
INSERT INTO default_expressions () VALUES ();
CREATE TABLE not_enforced (a INT, CONSTRAINT lax CHECK (a > 0) NOT ENFORCED);
INSERT INTO not_enforced VALUES (-1);
CREATE TABLE attributed (a INT COMMENT 'x') COMPRESSION = 'zlib' AUTOEXTEND_SIZE = 4M;
CREATE TABLE in_archive (a INT, b TEXT) ENGINE = ARCHIVE;
INSERT INTO in_archive VALUES (1, ';\n''');
CREATE TABLE in_blackhole (a INT) ENGINE = BLACKHOLE;
CREATE DATABASE not_encrypted DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs DEFAULT ENCRYPTION = 'N';
CREATE TABLE not_encrypted.a (a VARCHAR(9) COLLATE utf8mb4_ja_0900_as_cs_ks);

CREATE VIEW from_json AS SELECT t.x FROM JSON_TABLE('[{"a;b": 1}]', '$[*]' COLUMNS (x INT PATH '$."a;b"')) AS t;
CREATE VIEW `recursive` AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n;
