-- Every type, with the values at its edges. The patterns of bits and bytes are added by __init__.py.

CREATE DATABASE hostile DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
USE hostile;

CREATE TABLE integers (
  id INT PRIMARY KEY,
  t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, su SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED,
  i INT, iu INT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED, z INT(8) ZEROFILL, bo BOOLEAN, y YEAR
);
INSERT INTO integers VALUES
  (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, FALSE, 0000),
  (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615,
   42, TRUE, 2155),
  (3, 0, 1, -1, 1, -1, 1, -1, 1, -1, 1, 99999999, NULL, 1901),
  (-4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE decimals (
  id INT PRIMARY KEY, small DECIMAL(1,0), money DECIMAL(10,2) UNSIGNED, widest DECIMAL(65,30), whole DECIMAL(65,0)
);
INSERT INTO decimals VALUES
  (1, -9, 99999999.99, 99999999999999999999999999999999999.999999999999999999999999999999,
   99999999999999999999999999999999999999999999999999999999999999999),
  (2, 9, 0.00, -99999999999999999999999999999999999.999999999999999999999999999999,
   -99999999999999999999999999999999999999999999999999999999999999999),
  (3, 0, 0.01, 0.000000000000000000000000000001, 0),
  (4, NULL, NULL, NULL, NULL);

-- DOUBLE is exact in a dump. FLOAT is printed with six digits and so is damaged by every dump of this format.
CREATE TABLE doubles (id INT PRIMARY KEY, d DOUBLE, du DOUBLE UNSIGNED, dd DOUBLE(22,4));
INSERT INTO doubles VALUES
  (1, 1.7976931348623157e308, 1.7976931348623157e308, 123456789012345678.1234),
  (2, -1.7976931348623157e308, 0, -123456789012345678.1234),
  (3, 2.2250738585072014e-308, 2.2250738585072014e-308, 0.0001),
  (4, 0.1, 0.30000000000000004, 1e17), (5, 1e15 + 0.3, 9007199254740993, -0.0), (6, 1/3e0, 2/3e0, 1/3e0),
  (7, -1e-300, 123456.789e-10, 0), (8, NULL, NULL, NULL), (9, 4.35, 4.349999999999999, 2.675);
CREATE TABLE floats (id INT PRIMARY KEY, f FLOAT, fu FLOAT UNSIGNED, ff FLOAT(10,3));
INSERT INTO floats VALUES
  (1, 1.234567, 16777217, 1234567.891), (2, -3.402823e38, 3.402823e38, 0.001), (3, 1.175494e-38, 0.1, -1.5),
  (4, 0, 1, 0), (5, NULL, NULL, NULL);

-- Zero dates exist in many old databases; today's default modes refuse to write them.
SET @mode = @@SESSION.sql_mode, SESSION sql_mode = '';
CREATE TABLE dates (
  id INT PRIMARY KEY, d DATE, t TIME, t6 TIME(6), dt DATETIME, dt6 DATETIME(6),
  ts TIMESTAMP NULL, ts3 TIMESTAMP(3) NULL, ts6 TIMESTAMP(6) NULL,
  zd DATE NOT NULL DEFAULT '0000-00-00', zt DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00',
  created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  changed DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
);
SET time_zone = '+00:00';
INSERT INTO dates VALUES
  (1, '0000-00-00', '00:00:00', '00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00.000000',
   '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00',
   '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00'),
  (2, '2024-00-00', '-838:59:59', '-838:59:59', '2024-02-00 00:00:00', '0000-01-01 00:00:00.000001',
   '1970-01-01 00:00:01', '1970-01-01 00:00:01.001', '1970-01-01 00:00:01.000001',
   '2024-02-29', '1000-01-01 00:00:00', '2024-03-31 02:30:00', '2024-03-31 02:30:00.999999'),
  (3, '9999-12-31', '838:59:59', '838:59:58.999999', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999',
   '2038-01-19 03:14:07', '2038-01-19 03:14:06.999', '2038-01-19 03:14:06.999999',
   '9999-12-31', '9999-12-31 23:59:59', '2038-01-19 03:14:07', '2024-10-27 02:30:00'),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '0000-00-00', '0000-00-00', '2000-01-01', NULL);
CREATE TABLE dates_in_another_zone (id INT PRIMARY KEY, ts TIMESTAMP(6) NULL, dt DATETIME(6));
SET time_zone = '-11:30';
INSERT INTO dates_in_another_zone VALUES (1, '2024-06-01 12:00:00.5', '2024-06-01 12:00:00.5');
SET time_zone = DEFAULT;

-- 4-byte characters in the members of an ENUM or SET are not here: MySQL's own SHOW CREATE TABLE prints them as '?'.
-- Index 0 is how a server keeps a value that the list does not hold.
CREATE TABLE choices (
  id INT PRIMARY KEY,
  e ENUM('a', 'b,c', 'it''s', '"q"', 'back\\slash', 'new\nline', '❤é', 'NULL', '0', '%', '; DROP') NOT NULL,
  with_empty ENUM('', 'x') NULL,
  s SET('a', 'it''s', '"q"', 'back\\slash', 'new\nline', '❤é', 'NULL', '0', '`') NULL,
  e_latin1 ENUM('é', 'ü') CHARACTER SET latin1 DEFAULT 'é'
);
INSERT INTO choices VALUES
  (1, 'a', '', '', 'é'), (2, 'b,c', 'x', 'a,0', 'ü'), (3, 'it''s', NULL, NULL, NULL), (4, '"q"', '', '"q",`', 'é'),
  (5, 'back\\slash', 'x', 'back\\slash,new\nline', 'é'), (6, 'new\nline', 'x', '❤é', 'é'), (7, '❤é', 'x', 'NULL', 'é'),
  (8, 'NULL', 'x', 'a,it''s,"q",back\\slash,new\nline,❤é,NULL,0,`', 'é'), (9, '0', 'x', '0', 'é'), (10, '%', 'x', '', 'é'),
  (11, '; DROP', 'x', '', 'é'), (12, 'not in the list', 'x', 'neither', 'é');
SET SESSION sql_mode = @mode;
CREATE TABLE sixty_four_choices (id INT PRIMARY KEY, s SET(
  'm1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21',
  'm22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40',
  'm41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59',
  'm60','m61','m62','m63','m64'));
INSERT INTO sixty_four_choices VALUES (1, 'm64'), (2, 'm1,m64'), (3, 18446744073709551615), (4, '');

CREATE TABLE texts (
  id INT PRIMARY KEY,
  c CHAR(9), v VARCHAR(200), tt TINYTEXT, t TEXT, mt MEDIUMTEXT, lt LONGTEXT,
  latin1 VARCHAR(300) CHARACTER SET latin1, utf8mb3 VARCHAR(50) CHARACTER SET utf8mb3, ascii_ VARCHAR(50) CHARACTER SET ascii,
  ucs2 VARCHAR(50) CHARACTER SET ucs2, utf16 VARCHAR(50) CHARACTER SET utf16, utf32 VARCHAR(50) CHARACTER SET utf32,
  sjis VARCHAR(50) CHARACTER SET sjis, gbk VARCHAR(50) CHARACTER SET gbk, big5 VARCHAR(50) CHARACTER SET big5,
  cp1251 VARCHAR(50) CHARACTER SET cp1251, bin VARCHAR(50) CHARACTER SET binary,
  ci VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
);
INSERT INTO texts (id, c, v, tt, t, mt, lt) VALUES
  (1, '', '', '', '', '', ''), (2, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, 'NULL', ';\nINSERT INTO texts VALUES (1);\n', '\0\b\t\n\r\Z\\\'"`', ');\n-- Dump completed\n', '\\', '\\\''),
  (4, ' a ', 'trailing   ', '/*!50001 DROP TABLE texts */;', '-- Current Database: `x`\nUSE x;', 'DELIMITER ;;\n', '\r\n'),
  (5, '❤😀é', '😀😀😀', '中文字', CONVERT(x'61CC81' USING utf8mb4), CONVERT(x'EFBBBF41' USING utf8mb4), '%s %d %n \\% \\_'),
  (6, '\\N', '\\n', '--', '#', '/*', '*/');
INSERT INTO texts (id, latin1, utf8mb3, ascii_, ucs2, utf16, utf32, sjis, gbk, big5, cp1251, bin, ci) VALUES
  (20, 'é€ÿ¤', '❤é', 'ascii\\', '❤é\\', '😀❤', '😀❤', '表ソ能', '誠乗', '功許', 'Привет', '❤', 'ſs'),
  (21, '\\', '\\', '''', '\n', '\0', '\\', '\\', '\\', '\\', '\\', '\\', '\\');

CREATE TABLE json_values (id INT PRIMARY KEY, j JSON);
INSERT INTO json_values VALUES
  (1, NULL), (2, 'null'), (3, '{}'), (4, '[]'), (5, '""'), (6, '"\\\\ \\" \\n \\u0000 ❤ 😀 \\u00e9"'),
  (7, '[0.1, 1.5, 1e100, -1e-100, 0.30000000000000004, 123456789.12345678, 1.0, -0.5]'),
  (8, '[18446744073709551615, -9223372036854775808, 0, true, false]'),
  (9, '{"a": {"b": [1, {"c": "it''s; \\"x\\""}]}, "": 1, "`": 2, "a b": 3}'), (10, '"NULL"');

CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, p POINT, l LINESTRING, po POLYGON, mp MULTIPOINT,
  ml MULTILINESTRING, mpo MULTIPOLYGON, gc GEOMETRYCOLLECTION);
INSERT INTO shapes VALUES
  (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(0.1 -1e300)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 2)'),
   ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 2,1 1))'), ST_GeomFromText('MULTIPOINT(1 1,2 2)'),
   ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'),
   ST_GeomFromText('MULTIPOLYGON(((0 0,4 0,4 4,0 4,0 0)))'),
   ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')),
  (2, ST_GeomFromText('POINT(10 20)', 4326), NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE places (id INT PRIMARY KEY, at POINT NOT NULL, SPATIAL KEY (at));
INSERT INTO places VALUES (1, ST_GeomFromText('POINT(1 2)')), (2, ST_GeomFromText('POINT(3 4)'));

CREATE TABLE defaults (
  id INT PRIMARY KEY,
  t VARCHAR(90) DEFAULT ';\n''"\\`%😀' COMMENT 'it''s; "q" \\ \n -- Current Database: `x`\n😀',
  b VARBINARY(9) DEFAULT x'00FF275C0A', n VARCHAR(9) DEFAULT 'NULL', bi BIT(3) DEFAULT b'101', e VARCHAR(9) DEFAULT '',
  d DECIMAL(5,2) DEFAULT '-1.50', ts TIMESTAMP(3) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(3)
) COMMENT = 'quotes '' " ` and\nnew lines; \\ 😀';
INSERT INTO defaults (id) VALUES (1);

-- Enough rows for many INSERT statements in one dump.
CREATE TABLE many (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(400), KEY (text(20)));
INSERT INTO many (text) VALUES (REPEAT('x', 300)), (REPEAT(';\n', 150)), (REPEAT('''\\', 90)), (REPEAT('😀', 80));
INSERT INTO many (text) SELECT CONCAT(a.id, a.text) FROM many a, many b, many c, many d, many e;
INSERT INTO many (text) SELECT CONCAT(a.id, '-', b.id) FROM many a, many b WHERE b.id <= 4;
