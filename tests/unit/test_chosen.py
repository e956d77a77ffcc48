"""Single tables: which are meant, and what of a dump belongs to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.archive import Database, Table
from dbguard.chosen import ChosenTable, chosen, named
from dbguard.create_table import Place, items, pointed, untied
from dbguard.errors import NotFound, RestoreFailed, UsageError
from dbguard.loading.part import Tables, trigger_table
from dbguard.sqldump import Scanner
from tests.unit.nouns import archive
from tests.unit.stored import DUMPS

SHOP = Database(
    name="shop",
    create="CREATE DATABASE `shop`",
    tables=(
        Table(name="orders", kind="BASE TABLE", engine="InnoDB"),
        Table(name="a.b", kind="BASE TABLE", engine=None),
    ),
    objects={"view": ("names",)},
)

CREATE = b"""CREATE TABLE `orders` (
  `id` int NOT NULL COMMENT 'a \\' CONSTRAINT `x` FOREIGN KEY (`id`) REFERENCES `no` (`no`), it''s',
  `parent` int DEFAULT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `self` FOREIGN KEY (`parent`) REFERENCES `orders` (`id`) ON DELETE CASCADE,
  CONSTRAINT `pos``itive` CHECK ((`id` > 0)),
  CONSTRAINT `away` FOREIGN KEY (`id`, `parent`) REFERENCES `other`.`t``x` (`a`, `b`)
) ENGINE=InnoDB;
"""


@pytest.mark.parametrize(
    ("text", "saved", "to"),
    [
        ("shop.orders", ("shop", "orders"), ("shop", "orders")),
        ("shop.orders:then", ("shop", "orders"), ("shop", "then")),
        ("shop.orders:old.then", ("shop", "orders"), ("old", "then")),
        ("`a.b`.`c:``d`:`e.f`.g", ("a.b", "c:`d"), ("e.f", "g")),
    ],
)
def test_what_is_named(text: str, saved: Place, to: Place) -> None:
    assert named(text) == (saved, to)


@pytest.mark.parametrize(
    "text", ["", "orders", "shop.", ".orders", "shop.a.b", "shop.orders:", "shop.orders:a.b.c", "`a.b"]
)
def test_what_names_no_table(text: str) -> None:
    with pytest.raises(UsageError):
        named(text)


@given(st.lists(st.text(min_size=1), min_size=4, max_size=4))
def test_any_name_can_be_quoted(names: list[str]) -> None:
    one, two, three, four = ("`" + name.replace("`", "``") + "`" for name in names)
    assert named(f"{one}.{two}:{three}.{four}") == ((names[0], names[1]), (names[2], names[3]))


def test_what_is_chosen() -> None:
    made = archive(0, databases=(SHOP,))
    plain, copy = chosen(made, ["shop.orders", "shop.`a.b`:shop.c"])
    assert (plain.copy, copy.copy, str(copy)) == (False, True, "shop.a.b -> shop.c")
    for wanted, words in (("shop.names", "names is a view"), ("shop.none", "no table"), ("none.orders", "no database")):
        with pytest.raises(NotFound, match=words):
            chosen(made, [wanted])
    for twice in (["shop.orders", "shop.orders:x.y"], ["shop.orders", "shop.`a.b`:shop.orders"]):
        with pytest.raises(UsageError, match="named twice"):
            chosen(made, twice)


def test_foreign_keys_are_pointed_elsewhere() -> None:
    places = {("shop", "orders"): ("side", "orders")}
    made = pointed(CREATE, lambda database, table: places.get((database or "shop", table), (database or "shop", table)))
    assert b"REFERENCES `side`.`orders` (`id`) ON DELETE CASCADE," in made
    assert b"REFERENCES `other`.`t``x` (`a`, `b`)\n) ENGINE=InnoDB;\n" in made
    assert made.replace(b"`side`.", b"") == CREATE


def test_a_copy_is_tied_to_nothing() -> None:
    made = untied(CREATE)
    assert made.endswith(b"PRIMARY KEY (`id`),\n  CHECK ((`id` > 0))\n) ENGINE=InnoDB;\n")
    body = items(made)
    assert body is not None
    assert len(body[2]) == 4
    with pytest.raises(RestoreFailed):
        untied(b"CREATE TABLE `t` (`a` int, CONSTRAINT `x` FOREIGN KEY (`a`")


@pytest.mark.parametrize(
    "create",
    [
        b"/*!50003 CREATE*/ /*!50017 DEFINER=`on`@`on`*/ /*!50003 TRIGGER `on` BEFORE INSERT ON `t` "
        b"FOR EACH ROW SET @a=1 */;;",
        b"CREATE DEFINER=`a`@`b` TRIGGER shop . `x` AFTER UPDATE on shop.`t` FOR EACH ROW BEGIN END;;",
        b"CREATE TRIGGER x -- ON u\n AFTER INSERT OR UPDATE OF `on` /* ON u */ ON t\nFOR EACH ROW BEGIN END;;",
    ],
)
def test_the_table_of_a_trigger(create: bytes) -> None:
    assert trigger_table(create) == "t"


def part(sql: bytes, wanted: ChosenTable, place: Place) -> tuple[Tables, list[tuple[str, bytes]]]:
    scanner, selection = Scanner(), Tables({wanted.saved: place}, {wanted.saved: wanted})
    scanned = [*scanner.feed(sql), *scanner.close()]
    return selection, [(piece.kind, data) for one in scanned for piece, data in selection.of(one)]


@pytest.mark.parametrize("name", ["mysql97", "mariadb118", "mariadb1011"])
def test_a_table_with_its_triggers_and_no_other(name: str) -> None:
    sql = (DUMPS / f"{name}.sql").read_bytes()
    wanted = ChosenTable(database=SHOP, table=SHOP.tables[0], to=("shop", "orders"))
    selection, said = part(sql, wanted, ("shop", "orders"))
    assert [what for _, what in selection.triggers] == ["before_order", "after;;order"]
    text = b"".join(data for _, data in said)
    assert [kind for kind, _ in said if kind in {"create", "use", "database"}] == ["use", "create", "create", "create"]
    assert text.count(b"INSERT INTO `orders`") == sql.count(b"INSERT INTO `orders`") > 0
    assert text.count(b"INSERT INTO `") == text.count(b"INSERT INTO `orders`")
    assert text.count(b"DELIMITER") == sql.count(b"DELIMITER")


@pytest.mark.parametrize("name", ["mysql97", "mariadb118", "mariadb1011"])
def test_a_copy_of_a_table_has_none(name: str) -> None:
    sql = (DUMPS / f"{name}.sql").read_bytes()
    wanted = ChosenTable(database=SHOP, table=SHOP.tables[0], to=("old`", "then"))
    selection, said = part(sql, wanted, ("old`", "then"))
    text = b"".join(data for kind, data in said if kind != "session")
    assert (selection.triggers, b"`orders`" in text, b"USE `old```;\n" in text) == ([], False, True)
    assert text.count(b"INSERT INTO `then`") == sql.count(b"INSERT INTO `orders`")


def test_the_character_set_around_a_trigger() -> None:
    """What a dump sets for a routine behind the last trigger is not for the table."""
    around = b"ALTER DATABASE `shop` CHARACTER SET %s ;\n"
    trigger = b"DELIMITER ;;\nCREATE TRIGGER `t` BEFORE INSERT ON `orders` FOR EACH ROW SET @a = 1;;\nDELIMITER ;\n"
    routine = b"DELIMITER ;;\nCREATE PROCEDURE `p`() SELECT 1;;\nDELIMITER ;\n"
    wrapped = [around % b"latin1" + text + around % b"utf8mb4" for text in (trigger, routine)]
    sql = b"USE `shop`;\nCREATE TABLE `orders` (`a` int);\n" + b"".join(wrapped)
    wanted = ChosenTable(database=SHOP, table=SHOP.tables[0], to=("shop", "orders"))
    _, said = part(sql, wanted, ("side", "orders"))
    made = b"".join(data for _, data in said)
    assert made.startswith(b"USE `side`;\nCREATE TABLE `orders` (`a` int);\n" + wrapped[0].replace(b"shop", b"side"))
    assert made.count(b"ALTER DATABASE") == 2
    assert b"PROCEDURE" not in made
