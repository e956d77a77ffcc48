-- Shapes of tables: keys, partitions, foreign keys, generated columns, storage engines.

USE hostile;

CREATE TABLE without_rows (a INT);
CREATE TABLE without_key (a INT, b VARCHAR(9));
INSERT INTO without_key VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL);

SET @mode = @@SESSION.sql_mode, SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_AUTO_VALUE_ON_ZERO');
CREATE TABLE counts_from_zero (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(9)) AUTO_INCREMENT = 77;
INSERT INTO counts_from_zero VALUES (0, 'zero'), (-5, 'minus'), (1, 'one');
SET SESSION sql_mode = @mode;
CREATE TABLE counts_high (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 18446744073709551000;
INSERT INTO counts_high VALUES (NULL), (NULL);

CREATE TABLE `generated` (
  a INT, b VARCHAR(50),
  v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, s INT GENERATED ALWAYS AS (a * 2) STORED COMMENT 'stored; one',
  t VARCHAR(60) GENERATED ALWAYS AS (CONCAT(b, ';\n''"\\')) VIRTUAL, h VARBINARY(60) AS (UNHEX(HEX(b))) STORED,
  hidden INT INVISIBLE DEFAULT 7, `hidden;``2` VARCHAR(9) INVISIBLE DEFAULT 'x',
  KEY on_virtual (v), UNIQUE KEY on_stored (s)
);
INSERT INTO `generated` (a, b, hidden, `hidden;``2`) VALUES (1, 'one', 1, 'a'), (2, NULL, 2, NULL), (NULL, 'é😀', NULL, '');
INSERT INTO `generated` (a, b) VALUES (4, 'four');
CREATE TABLE only_first_visible (id INT PRIMARY KEY, a INT INVISIBLE, b INT INVISIBLE NOT NULL DEFAULT 3);
INSERT INTO only_first_visible (id, a) VALUES (1, 2);

CREATE TABLE indexed (
  id INT, a VARCHAR(300), b VARCHAR(300), c INT, d INT, t TEXT, x VARCHAR(20) CHARACTER SET latin1,
  PRIMARY KEY (id DESC), KEY descending (c DESC, d ASC), UNIQUE KEY `uni``que "k"` (x), KEY prefix (a(10), b(20) DESC),
  FULLTEXT KEY words (t), FULLTEXT KEY more_words (a, t), KEY commented (d) COMMENT 'it''s; "a" \\ \n comment 😀',
  KEY hashed (c) USING HASH
);
INSERT INTO indexed VALUES (1, 'a', 'b', 1, 2, 'the quick brown fox', 'x'), (2, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, REPEAT('é', 300), REPEAT('😀', 100), -1, 0, 'jumps; over', 'é');

CREATE TABLE checked (
  a INT CHECK (a > 0), b VARCHAR(30), CONSTRAINT `chk``1; "x"` CHECK (b <> ';\n''"\\'),
  CONSTRAINT both_ CHECK (a < 100 OR b IS NULL)
);
INSERT INTO checked VALUES (1, 'x'), (2, NULL);

CREATE TABLE by_range (id INT, y INT, t VARCHAR(20)) COMMENT = 'partitioned'
  PARTITION BY RANGE (y) (
    PARTITION p0 VALUES LESS THAN (2000) COMMENT = 'it''s; old', PARTITION `p``1 x` VALUES LESS THAN (2020),
    PARTITION pmax VALUES LESS THAN MAXVALUE);
INSERT INTO by_range VALUES (1, 1999, 'a'), (2, 2000, 'b'), (3, 2020, 'c'), (4, NULL, 'd');
CREATE TABLE by_range_columns (d DATE, s VARCHAR(20))
  PARTITION BY RANGE COLUMNS (d, s) (
    PARTITION p0 VALUES LESS THAN ('2020-01-01', 'm'), PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE));
INSERT INTO by_range_columns VALUES ('2019-12-31', 'z'), ('2020-01-01', 'a'), ('2020-01-01', 'z');
CREATE TABLE by_list (k VARCHAR(20))
  PARTITION BY LIST COLUMNS (k) (
    PARTITION odd VALUES IN ('it''s', 'a;b', '"'), PARTITION more VALUES IN ('❤', 'x,y'), PARTITION none VALUES IN (NULL));
INSERT INTO by_list VALUES ('it''s'), ('a;b'), ('"'), ('❤'), ('x,y'), (NULL);
CREATE TABLE by_hash (id INT PRIMARY KEY, v INT) PARTITION BY LINEAR HASH (id) PARTITIONS 5;
INSERT INTO by_hash VALUES (1, 1), (2, 2), (6, 6);
CREATE TABLE by_key (a VARCHAR(20), b INT, PRIMARY KEY (a, b)) PARTITION BY KEY (a) PARTITIONS 3;
INSERT INTO by_key VALUES ('x', 1), ('y', 2);
CREATE TABLE by_both (id INT, d DATE)
  PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (TO_DAYS(d)) (
    PARTITION p0 VALUES LESS THAN (2000) (SUBPARTITION s0, SUBPARTITION `s 1`),
    PARTITION p1 VALUES LESS THAN MAXVALUE (SUBPARTITION s2, SUBPARTITION s3));
INSERT INTO by_both VALUES (1, '1999-01-01'), (2, '1999-01-02'), (3, '2024-01-01');

-- A cycle, a reference to itself, and references into a database that is loaded later.
CREATE DATABASE `Hostile` DEFAULT CHARACTER SET latin1 COLLATE latin1_general_cs;
CREATE TABLE `Hostile`.country (code CHAR(2) CHARACTER SET ascii PRIMARY KEY, chief INT NULL);
CREATE TABLE person (
  id INT PRIMARY KEY, boss INT NULL, team INT NULL, country CHAR(2) CHARACTER SET ascii NULL,
  CONSTRAINT `is "bossed" by` FOREIGN KEY (boss) REFERENCES person (id) ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT lives_in FOREIGN KEY (country) REFERENCES `Hostile`.country (code) ON UPDATE CASCADE
);
CREATE TABLE a_team (
  id INT PRIMARY KEY, leader INT NOT NULL,
  CONSTRAINT led_by FOREIGN KEY (leader) REFERENCES person (id) ON DELETE CASCADE
);
INSERT INTO `Hostile`.country VALUES ('de', 1), ('fr', NULL);
INSERT INTO person VALUES (1, NULL, NULL, 'de'), (2, 1, NULL, 'fr');
INSERT INTO a_team VALUES (10, 2);
UPDATE person SET boss = 2, team = 10;
ALTER TABLE person ADD CONSTRAINT in_team FOREIGN KEY (team) REFERENCES a_team (id);
ALTER TABLE `Hostile`.country ADD CONSTRAINT ruled_by FOREIGN KEY (chief) REFERENCES hostile.person (id);

CREATE TABLE row_redundant (a INT, b TEXT) ROW_FORMAT = REDUNDANT;
CREATE TABLE row_compact (a INT, b TEXT) ROW_FORMAT = COMPACT;
CREATE TABLE row_dynamic (a INT, b TEXT) ROW_FORMAT = DYNAMIC STATS_PERSISTENT = 0;
CREATE TABLE row_compressed (a INT, b TEXT) ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 4;
INSERT INTO row_redundant VALUES (1, 'x');
INSERT INTO row_compressed VALUES (1, REPEAT('x', 10000));

CREATE TABLE in_myisam (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(90), FULLTEXT KEY (t))
  ENGINE = MyISAM ROW_FORMAT = DYNAMIC PACK_KEYS = 1 CHECKSUM = 1 DELAY_KEY_WRITE = 1 COMMENT = 'MyISAM; it''s';
INSERT INTO in_myisam (t) VALUES ('one'), ('two; \n three'), (NULL);
CREATE TABLE in_memory (id INT, t VARCHAR(90), KEY USING BTREE (id)) ENGINE = MEMORY MAX_ROWS = 100;
INSERT INTO in_memory VALUES (1, 'one'), (2, NULL);
CREATE TABLE in_csv (a INT NOT NULL, b VARCHAR(20) NOT NULL) ENGINE = CSV;
INSERT INTO in_csv VALUES (1, '"q", \n '''), (2, '');
