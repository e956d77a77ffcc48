-- A small shop, made up on the spot.
CREATE DATABASE shop;
USE shop;
SET SESSION cte_max_recursion_depth = 100000;

CREATE TABLE customers (
  id INT PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  city VARCHAR(40) NOT NULL COMMENT 'where the parcel goes 📦',
  email VARCHAR(120) AS (CONCAT(LOWER(REPLACE(name, ' ', '.')), '@example.org')) STORED,
  UNIQUE (email)
);
CREATE TABLE orders (
  id INT PRIMARY KEY AUTO_INCREMENT,
  customer INT NOT NULL,
  placed DATETIME NOT NULL,
  total DECIMAL(8, 2) NOT NULL,
  detail JSON,
  KEY (placed),
  FOREIGN KEY (customer) REFERENCES customers (id)
);
CREATE TABLE journal (at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, what VARCHAR(200));

INSERT INTO customers (id, name, city)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
SELECT i,
       CONCAT(ELT(1 + i % 8, 'Ada', 'Grace', 'Alan', 'Edsger', 'Barbara', 'Donald', 'Frances', 'Ken'), ' ',
              ELT(1 + i % 5, 'Rivera', 'Nakamura', 'Øst', 'Okafor', 'Müller'), ' ', i),
       ELT(1 + i % 6, 'Porto', 'Kyoto', 'Århus', 'Lagos', 'Köln', 'Quito')
FROM n;

INSERT INTO orders (customer, placed, total, detail)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
SELECT 1 + i * 7 % 2000, '2026-01-01' + INTERVAL i * 11 MINUTE, 5 + i % 200 + i % 100 / 100,
       JSON_OBJECT('items', JSON_ARRAY(i % 90, i % 70), 'gift', i % 9 = 0, 'note', IF(i % 50 = 0, 'ring twice 🔔', NULL))
FROM n;

CREATE VIEW best_customers AS
SELECT c.name, c.city, COUNT(*) AS orders, SUM(o.total) AS spent
FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id ORDER BY spent DESC LIMIT 10;

DELIMITER //
CREATE PROCEDURE place_order(IN who INT, IN amount DECIMAL(8, 2))
BEGIN
  -- a comment; with a semicolon
  INSERT INTO orders (customer, placed, total) VALUES (who, NOW(), amount);
END //
CREATE TRIGGER orders_journal AFTER INSERT ON orders FOR EACH ROW
  INSERT INTO journal (what) VALUES (CONCAT('order ', NEW.id, ' of customer ', NEW.customer)) //
DELIMITER ;
CREATE EVENT forget_old_entries ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 03:00:00'
  DO DELETE FROM journal WHERE at < NOW() - INTERVAL 30 DAY;

CALL place_order(42, 19.90);
