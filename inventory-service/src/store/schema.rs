//! The tables, once for both databases. Forwards only: expand, then contract.

use amends_sql::{Migration, Schema};

/// The inventory's own tables.
pub const SCHEMA: Schema = Schema {
    component: "inventory",
    migrations: &[Migration { version: 1, description: "items and reservations", sql: CREATE }],
};

// The checks on `items` are the last line of defence: whatever this program, an operator or a migration gets wrong, the database
// refuses to sell what is not there.
// No foreign key from lines to items: an item is never deleted, and every reservation would pay for the check.
// `reservations_due` holds open reservations only, so the sweeper never reads the history.
const CREATE: &str = "
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
";
