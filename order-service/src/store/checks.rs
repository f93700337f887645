//! What must never be true of the order store's own tables, as SELECTs of what is (see [`amends_sql::checks`]). The audit runs them.
//!
//! Must not know: other stores; what is done about a finding.

use amends_sql::checks::Check;

/// Over all orders, a slice of order ids at a time.
pub const OF_ORDERS: [Check; 2] = [
    Check {
        code: "total_not_sum_of_lines",
        about: "order",
        sql: "SELECT id, id, 'the total is ' || total_minor || ', its ' || lines || ' lines come to ' || comes_to || ' (minor units)' \
              FROM (SELECT o.id AS id, o.total_minor AS total_minor, \
                (SELECT COUNT(*) FROM order_lines l WHERE l.order_id = o.id) AS lines, \
                (SELECT CAST(COALESCE(SUM(l.quantity * l.unit_price_minor), 0) AS BIGINT) FROM order_lines l \
                    WHERE l.order_id = o.id) AS comes_to \
                FROM orders o WHERE {range:o.id}) summed WHERE total_minor <> comes_to",
    },
    Check {
        code: "order_malformed",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ' at version ' || o.version \
                || CASE WHEN o.payment_id IS NULL THEN ', no payment' ELSE ', a payment' END \
                || CASE WHEN o.reservation_id IS NULL THEN ', no reservation' ELSE ', a reservation' END \
                || CASE WHEN o.failure_code IS NULL THEN ', no failure' ELSE ', a failure' END \
                || CASE WHEN o.cancel_saga_id IS NULL THEN ', no cancellation' ELSE ', a cancellation' END \
                || CASE WHEN o.settled_at IS NULL THEN ', not settled' ELSE ', settled' END \
              FROM orders o WHERE {range:o.id} AND NOT CASE o.status \
              WHEN 'pending' THEN o.version = 1 AND o.payment_id IS NULL AND o.reservation_id IS NULL \
                AND o.failure_code IS NULL AND o.cancel_saga_id IS NULL AND o.settled_at IS NULL \
              WHEN 'failed' THEN o.version = 2 AND o.reservation_id IS NULL AND o.failure_code IS NOT NULL \
                AND o.failure_message IS NOT NULL AND o.cancel_saga_id IS NULL AND o.settled_at IS NOT NULL \
              ELSE o.payment_id IS NOT NULL AND o.reservation_id IS NOT NULL AND o.failure_code IS NULL \
                AND o.settled_at IS NOT NULL AND CASE o.status \
                WHEN 'confirmed' THEN o.version = 2 AND o.cancel_saga_id IS NULL \
                WHEN 'shipped' THEN o.version = 3 AND o.cancel_saga_id IS NULL \
                WHEN 'cancelling' THEN o.version = 3 AND o.cancel_saga_id IS NOT NULL \
                WHEN 'cancelled' THEN o.version = 4 AND o.cancel_saga_id IS NOT NULL \
                ELSE 1 = 0 END END",
    },
];

/// Over the keys. `{since}`: keys of orders placed from then on are still kept.
pub const KEY_MISSING: Check = Check {
    code: "key_missing",
    about: "order",
    sql: "SELECT o.id, o.id, 'its idempotency key ' || o.idempotency_key || ' of ' || o.customer_id || ' has no record' \
          FROM orders o WHERE {range:o.id} AND o.key_fingerprint IS NULL AND o.created_at >= {since} \
            AND NOT EXISTS (SELECT 1 FROM orders k WHERE k.customer_id = o.customer_id \
                AND k.idempotency_key = o.idempotency_key AND k.key_fingerprint IS NOT NULL) \
            AND NOT (o.status = 'failed' \
                AND o.failure_code NOT IN ('insufficient_stock', 'price_mismatch', 'payment_declined', 'reservation_expired'))",
};

/// A record that names an order that gave its key back.
pub const KEY_NAMES_OTHER_ORDER: Check = Check {
    code: "key_names_other_order",
    about: "key",
    sql: "SELECT o.idempotency_key, o.id, 'the record of ' || o.customer_id || ' names order ' || o.id || ', which failed with ' \
            || o.failure_code || ' and gave its key back' \
          FROM orders o WHERE o.key_fingerprint IS NOT NULL AND o.status = 'failed' \
            AND o.failure_code NOT IN ('insufficient_stock', 'price_mismatch', 'payment_declined', 'reservation_expired')",
};

/// Two orders of one caller under one key, the second placed while the first still had it. `{since}`: how long a key is kept, in
/// microseconds. After that a key may be used anew, and so may one that was given back.
pub const TWO_ORDERS_UNDER_ONE_KEY: Check = Check {
    code: "two_orders_under_one_key",
    about: "order",
    sql: "SELECT id, id, status || ', under key ' || idempotency_key || ' of ' || customer_id || ', as is order ' || before_id \
            || ' (' || before_status || ')' \
          FROM (SELECT o.id AS id, o.status AS status, o.customer_id AS customer_id, o.idempotency_key AS idempotency_key, \
                o.created_at AS created_at, LAG(o.id) OVER same AS before_id, LAG(o.status) OVER same AS before_status, \
                LAG(o.created_at) OVER same AS before_at \
            FROM orders o JOIN (SELECT customer_id, idempotency_key FROM orders \
                GROUP BY customer_id, idempotency_key HAVING COUNT(*) > 1) twice \
                ON twice.customer_id = o.customer_id AND twice.idempotency_key = o.idempotency_key \
            WHERE NOT (o.status = 'failed' AND o.failure_code NOT IN \
                ('insufficient_stock', 'price_mismatch', 'payment_declined', 'reservation_expired')) \
            WINDOW same AS (PARTITION BY o.customer_id, o.idempotency_key ORDER BY o.created_at, o.id)) placed \
          WHERE before_at > created_at - {since}",
};

/// The outbox. `{since}`: events from then on are still kept.
pub const EVENT_MISSING: Check = Check {
    code: "outbox_event_missing",
    about: "order",
    sql: "SELECT o.id, o.id, o.status || ' at version ' || o.version || ', but version ' || v.n || ' has no event in the outbox' \
          FROM orders o JOIN (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) v ON v.n <= o.version \
          WHERE {range:o.id} AND {since} <= CASE \
            WHEN v.n = 1 THEN o.created_at WHEN v.n = o.version THEN o.updated_at ELSE COALESCE(o.settled_at, o.created_at) END \
            AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.order_id = o.id AND e.order_version = v.n)",
};

/// An event that no state of its order stands for.
pub const EVENT_UNFOUNDED: Check = Check {
    code: "outbox_event_unfounded",
    about: "order",
    sql: "SELECT o.id, o.id, 'the outbox has ' || COALESCE(e.kind, 'no event') || ' for version ' \
            || COALESCE(CAST(e.order_version AS TEXT), 'none') || ', but the order is ' || o.status || ' at version ' || o.version \
          FROM orders o JOIN outbox e ON e.order_id = o.id WHERE {range:o.id} AND (e.order_version IS NULL OR e.kind IS NULL \
            OR e.order_version NOT BETWEEN 1 AND o.version OR e.kind <> CASE e.order_version WHEN 1 THEN 'order_placed' \
            WHEN 2 THEN CASE o.status WHEN 'failed' THEN 'order_failed' ELSE 'order_confirmed' END \
            WHEN 3 THEN CASE o.status WHEN 'shipped' THEN 'order_shipped' ELSE 'order_cancellation_begun' END \
            ELSE 'order_cancelled' END)",
};

/// An order whose saga is not in the journal. `{since}`: sagas finished from then on are still kept.
pub const SAGA_MISSING: [Check; 2] = [
    Check {
        code: "saga_missing",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ', but the saga that places it, ' || o.saga_id || ', is not in the journal' \
              FROM orders o LEFT JOIN sagas s ON s.id = o.saga_id WHERE {range:o.id} AND s.id IS NULL \
                AND (o.status = 'pending' OR COALESCE(o.settled_at, o.updated_at) >= {since})",
    },
    Check {
        code: "saga_missing",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ', but the saga that cancels it, ' || o.cancel_saga_id || ', is not in the journal' \
              FROM orders o LEFT JOIN sagas s ON s.id = o.cancel_saga_id \
              WHERE {range:o.id} AND o.cancel_saga_id IS NOT NULL AND s.id IS NULL \
                AND (o.status = 'cancelling' OR o.updated_at >= {since})",
    },
];

/// Orders against their sagas: both change in one commit.
pub const ORDER_AND_SAGA: [Check; 3] = [
    Check {
        code: "order_and_saga_differ",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ', but the saga that places it, ' || s.id || ' (' || s.definition || ' of ' || s.subject \
                || '), is ' || s.status \
              FROM orders o JOIN sagas s ON s.id = o.saga_id WHERE {range:o.id} AND (s.definition <> 'place-order' \
                OR s.subject <> o.id OR NOT CASE o.status WHEN 'pending' THEN s.status IN ('running', 'unwinding', 'parked') \
                WHEN 'failed' THEN s.status = 'unwound' ELSE s.status = 'completed' END)",
    },
    Check {
        code: "order_and_saga_differ",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ', but the saga that cancels it, ' || s.id || ' (' || s.definition || ' of ' || s.subject \
                || '), is ' || s.status \
              FROM orders o JOIN sagas s ON s.id = o.cancel_saga_id WHERE {range:o.id} AND (s.definition <> 'cancel-order' \
                OR s.subject <> o.id OR NOT CASE o.status WHEN 'cancelling' THEN s.status IN ('running', 'parked') \
                ELSE s.status = 'completed' END)",
    },
    Check {
        code: "order_and_saga_differ",
        about: "order",
        sql: "SELECT o.id, o.id, o.status || ', but saga ' || s.id || ', which it does not name, ' \
                || CASE s.definition WHEN 'place-order' THEN 'places' ELSE 'has cancelled' END || ' it too' \
              FROM sagas s JOIN orders o ON o.id = s.subject WHERE {range:s.subject} AND \
                ((s.definition = 'place-order' AND s.id <> o.saga_id) OR (s.definition = 'cancel-order' \
                AND s.status = 'completed' AND (o.cancel_saga_id IS NULL OR o.cancel_saga_id <> s.id)))",
    },
];

/// A saga about an order that does not exist.
pub const ORPHAN_SAGA: Check = Check {
    code: "orphan_saga",
    about: "saga",
    sql: "SELECT s.id, s.subject, s.definition || ' (' || s.status || ') is about order ' || s.subject || ', which does not exist' \
          FROM sagas s LEFT JOIN orders o ON o.id = s.subject WHERE {range:s.subject} AND o.id IS NULL",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FailureCode;

    /// The statements repeat the rule, because they must decide in the database.
    #[test]
    fn the_checks_know_which_failures_keep_the_key() {
        for (code, check) in FailureCode::ALL
            .iter()
            .flat_map(|code| [KEY_MISSING, KEY_NAMES_OTHER_ORDER, TWO_ORDERS_UNDER_ONE_KEY].map(|check| (code, check)))
        {
            assert_eq!(check.sql.contains(&format!("'{code}'")), !code.gives_key_back(), "{code}: {}", check.code);
        }
    }
}
