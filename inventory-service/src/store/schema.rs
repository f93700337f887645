//! The tables, for both databases. Forwards only: expand, then contract.

use amends_sql::{Migration, Schema};

/// The inventory's own tables.
pub const SCHEMA: Schema = Schema { component: "inventory", migrations: &[CREATE, LINES] };

// The checks on `items` are the last line of defence: whatever this program, an operator or a migration gets wrong, the database
// refuses to sell what is not there.
// No foreign key from lines to items: an item is never deleted, and every reservation would pay for the check.
// `reservations_due` holds open reservations only, so the sweeper never reads the history.
const CREATE: Migration = Migration {
    version: 1,
    description: "items and reservations",
    postgres: None,
    sql: "
CREATE TABLE items (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    price_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    on_hand BIGINT NOT NULL,
    reserved BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL,
    CONSTRAINT items_price_above_zero CHECK (price_minor > 0),
    CONSTRAINT items_reserved_not_below_zero CHECK (reserved >= 0),
    CONSTRAINT items_never_oversold CHECK (reserved <= on_hand)
);
CREATE TABLE reservations (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT reservations_state CHECK (state IN ('held', 'released', 'expired', 'committed', 'restocked'))
);
CREATE INDEX reservations_of_order ON reservations (order_id, id);
CREATE INDEX reservations_due ON reservations (expires_at, id) WHERE state = 'held';
CREATE TABLE reservation_lines (
    reservation_id TEXT NOT NULL REFERENCES reservations (id),
    position BIGINT NOT NULL,
    sku TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    price_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    PRIMARY KEY (reservation_id, position),
    CONSTRAINT reservation_lines_quantity CHECK (quantity > 0)
);
",
};

/// A reservation's lines are in its row, as JSON. `reservation_lines` is a view of them from now on, for queries across reservations; an
/// older program still reads through it, and fails where it would write.
///
/// Rows of a reservation are a few hundred bytes and are found by their id: without a rowid they are in one b-tree instead of two.
const LINES: Migration = Migration {
    version: 2,
    description: "lines in the reservation",
    sql: "
CREATE TABLE reservations_2 (
    id TEXT NOT NULL PRIMARY KEY,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    lines TEXT NOT NULL,
    CONSTRAINT reservations_state CHECK (state IN ('held', 'released', 'expired', 'committed', 'restocked')),
    CONSTRAINT reservations_lines CHECK (json_valid(lines) AND json_type(lines) = 'array')
) WITHOUT ROWID;
INSERT INTO reservations_2 (id, order_id, state, expires_at, created_at, changed_at, lines)
SELECT r.id, r.order_id, r.state, r.expires_at, r.created_at, r.changed_at,
    (SELECT json_group_array(json_object('sku', l.sku, 'quantity', l.quantity, 'price_minor', l.price_minor,
            'currency', l.currency) ORDER BY l.position)
        FROM reservation_lines l WHERE l.reservation_id = r.id)
FROM reservations r ORDER BY r.id;
DROP TABLE reservation_lines;
DROP TABLE reservations;
ALTER TABLE reservations_2 RENAME TO reservations;
CREATE INDEX reservations_of_order ON reservations (order_id, id);
CREATE INDEX reservations_due ON reservations (expires_at, id) WHERE state = 'held';
-- A number that a hand has spoilt is none.
CREATE VIEW reservation_lines AS SELECT r.id AS reservation_id, l.key AS position, l.value ->> '$.sku' AS sku,
    CASE json_type(l.value, '$.quantity') WHEN 'integer' THEN l.value ->> '$.quantity' END AS quantity,
    CASE json_type(l.value, '$.price_minor') WHEN 'integer' THEN l.value ->> '$.price_minor' END AS price_minor,
    l.value ->> '$.currency' AS currency
FROM reservations r, json_each(CASE WHEN json_valid(r.lines) THEN r.lines ELSE '[]' END) l;
",
    postgres: Some(
        "
ALTER TABLE reservations ADD COLUMN lines TEXT;
UPDATE reservations SET lines = COALESCE(
    (SELECT CAST(json_agg(json_build_object('sku', l.sku, 'quantity', l.quantity, 'price_minor', l.price_minor,
            'currency', l.currency) ORDER BY l.position) AS TEXT)
        FROM reservation_lines l WHERE l.reservation_id = reservations.id), '[]');
ALTER TABLE reservations ALTER COLUMN lines SET NOT NULL;
ALTER TABLE reservations ADD CONSTRAINT reservations_lines CHECK (json_typeof(CAST(lines AS json)) = 'array');
DROP TABLE reservation_lines;
-- A number that a hand has spoilt is none.
CREATE VIEW reservation_lines AS SELECT r.id AS reservation_id, l.number - 1 AS position, l.line ->> 'sku' AS sku,
    CASE WHEN l.line ->> 'quantity' ~ '^-?[0-9]{1,18}$' THEN CAST(l.line ->> 'quantity' AS BIGINT) END AS quantity,
    CASE WHEN l.line ->> 'price_minor' ~ '^-?[0-9]{1,18}$' THEN CAST(l.line ->> 'price_minor' AS BIGINT) END AS price_minor,
    l.line ->> 'currency' AS currency
FROM reservations r CROSS JOIN LATERAL json_array_elements(CAST(r.lines AS json)) WITH ORDINALITY AS l (line, number);
",
    ),
};
