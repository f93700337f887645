//! What must never be true of the inventory's own tables, as SELECTs of what is (see [`amends_sql::checks`]). The audit runs them.
//!
//! Stock on hand cannot be checked against what was sold: how much there was at first, and what was counted since, is in no table.

use amends_sql::checks::Check;

/// Over all articles, in one statement: what is reserved is one sum over all that is held.
pub const OF_ITEMS: [Check; 2] = [
    Check {
        code: "reserved_not_sum_of_held",
        about: "item",
        sql: "SELECT i.sku, '', i.reserved || ' units are reserved, held reservations come to ' || COALESCE(h.units, 0) \
              FROM items i LEFT JOIN (SELECT l.sku AS sku, SUM(l.quantity) AS units FROM reservations r \
                JOIN reservation_lines l ON l.reservation_id = r.id WHERE r.state = 'held' GROUP BY l.sku) h ON h.sku = i.sku \
              WHERE i.reserved <> COALESCE(h.units, 0)",
    },
    Check {
        code: "stock_out_of_bounds",
        about: "item",
        sql: "SELECT i.sku, '', i.on_hand || ' on hand, ' || i.reserved || ' of them reserved' \
              FROM items i WHERE i.reserved < 0 OR i.on_hand < i.reserved",
    },
];

/// Over all reservations, a slice of ids at a time.
pub const OF_RESERVATIONS: [Check; 2] = [
    Check {
        code: "reservation_malformed",
        about: "reservation",
        sql: "SELECT r.id, r.order_id, r.state || ', without a line' FROM reservations r \
              WHERE {range:r.id} AND NOT EXISTS (SELECT 1 FROM reservation_lines l WHERE l.reservation_id = r.id)",
    },
    Check {
        code: "reservation_malformed",
        about: "reservation",
        sql: "SELECT r.id, r.order_id, r.state || ', with a line of ' || COALESCE(CAST(l.quantity AS TEXT), 'no') || ' ' \
                || COALESCE(l.sku, 'no article') || ' at ' || COALESCE(CAST(l.price_minor AS TEXT), 'no') || ' ' \
                || COALESCE(l.currency, 'currency') || CASE WHEN i.sku IS NULL THEN ', an article that does not exist' ELSE '' END \
              FROM reservations r JOIN reservation_lines l ON l.reservation_id = r.id LEFT JOIN items i ON i.sku = l.sku \
              WHERE {range:r.id} AND (i.sku IS NULL OR l.quantity IS NULL OR l.quantity < 1 OR l.price_minor IS NULL \
                OR l.price_minor < 1 OR l.currency IS NULL)",
    },
];

/// Goods held past their time, though the store was written to ten minutes after it: the store's own clock, so that a copy that is
/// looked at years later is judged as of the moment it was made.
pub const RESERVATION_OVERDUE: Check = Check {
    code: "reservation_overdue",
    about: "reservation",
    sql: "SELECT r.id, r.order_id, 'held until ' || r.expires_at || ', and the store was last written to at ' || newest.at \
            || ' (microseconds since 1970)' \
          FROM reservations r CROSS JOIN (SELECT MAX(changed_at) AS at FROM reservations) newest \
          WHERE r.state = 'held' AND r.expires_at < newest.at - 600000000",
};

/// The barrier against what its steps did, a slice of step keys at a time. An answer that took effect is
/// `{"reservation":"…"}`: 36 characters from the 17th on.
pub const OF_STEPS: [Check; 2] = [
    Check {
        code: "step_left_open",
        about: "step",
        sql: "SELECT b.step_key, '', 'neither done nor refused: its transaction committed half-way' \
              FROM saga_barrier b WHERE {range:b.step_key} AND b.state = 'open'",
    },
    Check {
        code: "step_and_goods_differ",
        about: "step",
        sql: "SELECT b.step_key, COALESCE(r.order_id, ''), 'the step is ' \
                || CASE b.state WHEN 'done' THEN 'done' ELSE 'undone' END || ', but reservation ' || substr(b.answer, 17, 36) \
                || CASE WHEN r.id IS NULL THEN ' does not exist' ELSE ' is ' || r.state END \
              FROM saga_barrier b LEFT JOIN reservations r ON r.id = substr(b.answer, 17, 36) \
              WHERE {range:b.step_key} AND b.state IN ('done', 'tombstone') AND b.answer IS NOT NULL \
                AND (r.id IS NULL OR NOT CASE \
                WHEN b.state = 'tombstone' THEN r.state IN ('released', 'expired') \
                WHEN b.step_key LIKE '%/reserve_stock' THEN r.state <> 'released' \
                WHEN b.step_key LIKE '%/commit_stock' THEN r.state IN ('committed', 'restocked') \
                WHEN b.step_key LIKE '%/restock' THEN r.state = 'restocked' \
                ELSE 1 = 1 END)",
    },
];
