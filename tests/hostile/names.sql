-- Names. No server keeps 4-byte characters in them (MySQL stores '?', MariaDB refuses), so ❤ stands for all emoji.

USE hostile;

CREATE TABLE `T` (id INT PRIMARY KEY, which VARCHAR(9));
CREATE TABLE `t` (id INT PRIMARY KEY, which VARCHAR(9), other INT);
INSERT INTO `T` VALUES (1, 'upper');
INSERT INTO `t` VALUES (1, 'lower', 2);
CREATE VIEW `V` AS SELECT 'upper' AS x;
CREATE VIEW `v` AS SELECT 'lower' AS x;

CREATE TABLE `table_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxxxxx` (
  `column_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxxxx` INT,
  KEY `index_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxxxxx`
    (`column_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxxxx`));
INSERT INTO `table_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxxxxx` VALUES (64);
CREATE TABLE `--all-databases` (`-e` INT, `--` INT);
INSERT INTO `--all-databases` VALUES (1, 2);
CREATE TABLE `-t` (a INT);
CREATE TABLE `select` (`from` INT, `where` INT, PRIMARY KEY (`from`));
INSERT INTO `select` VALUES (1, 2);
CREATE TABLE `back``tick` (`c``1` INT, ```` INT, `'` INT, `"` INT);
INSERT INTO `back``tick` VALUES (1, 2, 3, 4);
CREATE TABLE `new
line` (`c
-- x` INT, `tab	tab` INT);
INSERT INTO `new
line` VALUES (1, 2);
CREATE TABLE `x``;
-- Current Database: ``mysql``
USE mysql;` (`a;
-- Dump completed` INT);
INSERT INTO `x``;
-- Current Database: ``mysql``
USE mysql;` VALUES (1);
CREATE TABLE `q'uo"te\s` (`it's` INT, `\` INT, `\\'` INT);
INSERT INTO `q'uo"te\s` VALUES (1, 2, 3);
CREATE TABLE `100% of $1 %s {0}` (`%d` INT);
INSERT INTO `100% of $1 %s {0}` VALUES (1);
CREATE TABLE ` in the middle and before` (` a` INT);
INSERT INTO ` in the middle and before` VALUES (1);
CREATE TABLE `a.b` (`c.d` INT);
INSERT INTO `a.b` VALUES (1);
CREATE TABLE `../../etc/passwd` (a INT);
INSERT INTO `../../etc/passwd` VALUES (1);
CREATE TABLE `Tränen ❤ 中文 Ελληνικά` (`größe ❤` INT, `列` INT);
INSERT INTO `Tränen ❤ 中文 Ελληνικά` VALUES (1, 2);
CREATE TABLE `*/ /* /*!99999` (`*/` INT);
INSERT INTO `*/ /* /*!99999` VALUES (1);
CREATE TABLE `123` (`456` INT);
INSERT INTO `123` VALUES (7);
CREATE TABLE `1e5` (`0x1` INT);
INSERT INTO `1e5` VALUES (7);

-- Databases. Those with quotes, backslashes or new lines in their names hold no events: mariadb-dump cannot dump these.
CREATE DATABASE `-- b``a"c'k\ %s;
❤ new line` DEFAULT CHARACTER SET utf8mb4;
USE `-- b``a"c'k\ %s;
❤ new line`;
CREATE TABLE `t``a;
-- b` (id INT AUTO_INCREMENT PRIMARY KEY, `c"` VARCHAR(9), KEY `k
k` (`c"`));
INSERT INTO `t``a;
-- b` (`c"`) VALUES ('one'), ('two');
CREATE VIEW `v``;
❤` AS SELECT id AS `i``;
d`, `c"` FROM `t``a;
-- b`;
DELIMITER $$
CREATE TRIGGER `tr``;;
'"\ ❤` BEFORE INSERT ON `t``a;
-- b` FOR EACH ROW BEGIN SET NEW.`c"` = ';;'; END$$
CREATE PROCEDURE `p``;;
'"\ ❤`(`a``;;
x` INT) BEGIN SELECT `a``;;
x`; END$$
CREATE FUNCTION `f``;;
'"\ ❤`() RETURNS INT DETERMINISTIC BEGIN RETURN 1; END$$
DELIMITER ;
CREATE DATABASE `--all-databases`;
CREATE TABLE `--all-databases`.a (a INT);
INSERT INTO `--all-databases`.a VALUES (1);
CREATE DATABASE `a.b` DEFAULT CHARACTER SET utf8mb3;
CREATE TABLE `a.b`.`c.d` (a INT);
INSERT INTO `a.b`.`c.d` VALUES (1);
CREATE DATABASE `../../etc` DEFAULT CHARACTER SET binary;
CREATE TABLE `../../etc`.`..` (a INT);
INSERT INTO `../../etc`.`..` VALUES (1);
CREATE DATABASE `database_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxx`;
CREATE TABLE `database_name_of_exactly_64_characters_xxxxxxxxxxxxxxxxxxxxxxxxx`.a (a INT);
CREATE DATABASE empty_one DEFAULT CHARACTER SET latin1 COLLATE latin1_german2_ci;
