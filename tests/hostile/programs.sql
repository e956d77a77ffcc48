-- Views, triggers, routines and events, with text in them that looks like a part of a dump.

USE hostile;

CREATE USER ghost@localhost, `gho``st'"; ❤`@`%`;
GRANT ALL ON *.* TO ghost@localhost, `gho``st'"; ❤`@`%`;

-- In a dump a view's final form comes in the order of the names: a view on a later one, and on an earlier one.
CREATE VIEW middle_view AS SELECT id, boss, ';' AS `semi;``colon`, '*/' AS `*/`, '\\''"' AS quotes FROM person;
CREATE VIEW a_view AS SELECT m.id, `semi;``colon` AS s FROM middle_view m JOIN a_team t ON t.leader = m.id;
CREATE VIEW z_view AS SELECT * FROM a_view UNION ALL SELECT id, `*/` FROM middle_view;
CREATE VIEW across AS SELECT c.code, p.id FROM `Hostile`.country c LEFT JOIN person p ON p.country = c.code;
CREATE VIEW `Hostile`.seen_from_here AS SELECT x.code FROM hostile.across x WHERE x.id > 0;
CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW merged (`a;
-- x`, `b``"'\ ❤`) AS SELECT id, t FROM counts_from_zero WHERE id > 0 WITH LOCAL CHECK OPTION;
CREATE ALGORITHM = TEMPTABLE VIEW computed AS SELECT COUNT(*) AS n, GROUP_CONCAT(t SEPARATOR ';\n') AS t FROM counts_from_zero;
CREATE OR REPLACE DEFINER = ghost@localhost SQL SECURITY DEFINER VIEW y_missing_definer AS SELECT id FROM person;
CREATE DEFINER = `gho``st'"; ❤`@`%` SQL SECURITY INVOKER VIEW missing_definer_2 AS SELECT 1 AS one;
SET @mode = @@SESSION.sql_mode, SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT';
CREATE VIEW ansi AS SELECT 'a\' || 'b' AS "x""y", 'c\\' AS "z`z";
SET SESSION sql_mode = @mode;

CREATE TABLE audited (id INT PRIMARY KEY, t VARCHAR(99));
CREATE TABLE audit_log (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(99));
INSERT INTO audited VALUES (1, 'before the triggers');
DELIMITER $$
CREATE TRIGGER z_first BEFORE INSERT ON audited FOR EACH ROW
BEGIN
  -- a comment; DELIMITER ;
  -- Current Database: `x`
  # another ;; */
  DECLARE a TEXT DEFAULT 'x;;y\\';
  SET a = "DELIMITER ;
-- Current Database: `mysql`
USE mysql;
DROP TABLE user; -- \\";
  SET a = '
-- Dump completed on 2026-01-01
/*!40000 ALTER TABLE x DISABLE KEYS */;
CREATE TABLE not_a_table (a INT);
INSERT INTO `audited` VALUES (2,''x'');
', @b = '*/', @c = '/*' /* ;; */;
  SET NEW.t = CONCAT(NEW.t, ' ❤😀');
END$$
CREATE TRIGGER a_second BEFORE INSERT ON audited FOR EACH ROW FOLLOWS z_first SET NEW.t = CONCAT(NEW.t, ';;')$$
CREATE TRIGGER between_them BEFORE INSERT ON audited FOR EACH ROW PRECEDES a_second SET NEW.t = CONCAT(NEW.t, '.')$$
CREATE TRIGGER `after;;``insert
"❤'\` AFTER INSERT ON audited FOR EACH ROW INSERT INTO audit_log (what) VALUES (NEW.t)$$
CREATE TRIGGER before_update BEFORE UPDATE ON audited FOR EACH ROW BEGIN IF NEW.id < 0 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no; never'; END IF; END$$
CREATE DEFINER = ghost@localhost TRIGGER after_update AFTER UPDATE ON audited FOR EACH ROW SET @x = 1$$
CREATE TRIGGER before_delete BEFORE DELETE ON audited FOR EACH ROW SET @x = 'DELIMITER $'$$
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE'$$
CREATE TRIGGER after_delete AFTER DELETE ON "audited" FOR EACH ROW SET @x = 'a\', @y = ';;\'$$
CREATE PROCEDURE ansi(IN "a;;b" INT) COMMENT 'it''s'
BEGIN
  SELECT "a;;b", 'a\', '\\', ';;' AS "x""y;;";
END$$
SET SESSION sql_mode = @mode$$

CREATE PROCEDURE nothing() BEGIN END$$
CREATE PROCEDURE `proc;;``
"❤'\`(IN `in;` INT, OUT o VARCHAR(20) CHARACTER SET latin1, INOUT io DECIMAL(5,2))
  MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s;;\n"multi" \\ line 😀'
-- a comment before the body
BEGIN
  /* a comment;; with 'one quote */
  DECLARE done INT DEFAULT 0; -- a comment with "one double quote
  DECLARE c CURSOR FOR SELECT id FROM person; # and `one back-tick
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1;
  SELECT '\\', 'a\'b', "c\"d", 'e''f', "g""h", `in;`, ';;', '😀';
  SET o = '
-- Dumping routines for database ''x''
DELIMITER ;;
', io = 1.5;
END$$
CREATE FUNCTION calls_nothing(x INT, s VARCHAR(30) CHARSET utf8mb4) RETURNS VARCHAR(99) CHARSET latin1
  DETERMINISTIC NO SQL COMMENT '' RETURN CONCAT(s, ';;', x)$$
CREATE DEFINER = ghost@localhost FUNCTION missing_definer() RETURNS INT READS SQL DATA SQL SECURITY DEFINER
  RETURN (SELECT COUNT(*) FROM person)$$
CREATE FUNCTION `Hostile`.used_by_a_view(x INT) RETURNS INT DETERMINISTIC RETURN x + 1$$
CREATE FUNCTION twin() RETURNS INT DETERMINISTIC RETURN 1$$
CREATE PROCEDURE twin() SELECT 'a procedure'$$
DELIMITER ;
CREATE VIEW uses_a_function AS SELECT `Hostile`.used_by_a_view(id) AS x FROM person;
INSERT INTO audited VALUES (2, 'after the triggers');

-- Two semicolons in an event's body make mysqldump (9.7) and mariadb-dump (10.11) loop for ever: see test_undumpable.py.
SET time_zone = '+05:30';
DELIMITER $$
CREATE EVENT later ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE COMMENT 'it''s; "q"\n\\ 😀' DO
BEGIN
  -- Current Database: `x`
  /* DELIMITER ; */
  INSERT INTO audit_log (what) VALUES ('\\ '' " ; */ ❤😀');
END$$
SET time_zone = '-08:00'$$
CREATE EVENT `event;``
"❤'\` ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2037-01-01 00:00:00' ENDS '2037-12-31 23:59:59' DISABLE
  DO SELECT 1$$
SET time_zone = DEFAULT$$
CREATE EVENT elsewhere ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01 00:00:00' DISABLE ON SLAVE DO DELETE FROM audit_log$$
CREATE DEFINER = ghost@localhost EVENT missing_definer ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO SELECT 1$$
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'$$
CREATE EVENT "ansi" ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' COMMENT 'a' DO SELECT 'b\' AS "c"$$
SET SESSION sql_mode = @mode$$
DELIMITER ;

DROP USER ghost@localhost, `gho``st'"; ❤`@`%`;
