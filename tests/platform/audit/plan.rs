//! What is planted where, and what the audit must say of it.

use std::collections::BTreeMap;

use amends::audit::laws::Law;

/// What the stores have of one order.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) saga: String,
    pub(super) payment: String,
    pub(super) reservation: String,
    /// In microseconds.
    pub(super) placed_at: i64,
}

impl Order {
    /// The key of its charge.
    pub(super) fn charge(&self) -> String {
        format!("{}/charge_payment", self.saga)
    }
}

/// Orders to tamper with, and what was done to them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Confirmed: paid, and their goods sold.
    pub(super) confirmed: Vec<Order>,
    /// Failed, because the payment was declined.
    pub(super) declined: Vec<Order>,
    /// Failed, because the goods were gone: paid and refunded.
    pub(super) refunded: Vec<Order>,
    /// By store.
    pub(super) statements: BTreeMap<&'static str, Vec<String>>,
    /// The codes, sorted, by order or by kind and id.
    pub(super) expected: BTreeMap<String, Vec<&'static str>>,
    pub(super) ids: u32,
}

impl Plan {
    /// One that nothing is planted in yet.
    pub(super) fn confirmed(&mut self) -> Order {
        self.confirmed.pop().expect("more orders are to be placed")
    }

    pub(super) fn declined(&mut self) -> Order {
        self.declined.pop().expect("more orders are to be placed")
    }

    pub(super) fn refunded(&mut self) -> Order {
        self.refunded.pop().expect("more orders are to be placed")
    }

    /// An id that does not exist.
    pub(super) fn id(&mut self) -> String {
        self.ids += 1;
        format!("0198c0de-0000-7000-8000-{:012x}", self.ids)
    }

    /// A statement on one store.
    pub(super) fn sql(&mut self, store: &'static str, statement: impl Into<String>) {
        self.statements.entry(store).or_default().push(statement.into());
    }

    /// What is to be found.
    pub(super) fn expect(&mut self, subject: impl Into<String>, law: Law) {
        let codes = self.expected.entry(subject.into()).or_default();
        codes.push(law.code());
        codes.sort_unstable();
    }

    /// One statement that breaks one law of a confirmed order.
    pub(super) fn one(&mut self, law: Law, store: &'static str, statement: impl Fn(&Order) -> String) {
        let order = self.confirmed();
        self.sql(store, statement(&order));
        self.expect(order.id, law);
    }

    /// The payment of one order once more, under a key of its own, and the bank's line of it: both agree.
    pub(super) fn copy_payment(&mut self, of: &Order, to: &str) -> String {
        let (saga, payment) = (self.id(), self.id());
        let (charge, key) = (of.charge(), format!("{saga}/charge_payment"));
        self.sql(
            "payment",
            format!("CREATE TEMP TABLE one AS SELECT * FROM payments WHERE step_key = '{charge}' LIMIT 1"),
        );
        self.sql(
            "payment",
            format!(
                "UPDATE one SET step_key = '{key}', payment_id = '{payment}', order_id = '{to}', document = json_set(document, \
                 '$._id', '{key}', '$.payment_id', '{payment}', '$.order_id', '{to}', '$.receipt', 'sim-charge-{key}', \
                 '$.closed_at', document ->> '$.updated_at')"
            ),
        );
        self.sql("payment", "INSERT INTO payments SELECT * FROM one");
        self.sql("payment", "DELETE FROM one");
        self.sql("payment", "DROP TABLE one");
        self.copy_line(of, &key);
        payment
    }

    /// Changes the document of an order's payment: paths and values, as `json_set` takes them.
    pub(super) fn document(&mut self, of: &Order, changes: &str) {
        let order = &of.id;
        self.sql(
            "payment",
            format!("UPDATE payments SET document = json_set(document, {changes}) WHERE order_id = '{order}'"),
        );
    }

    /// The bank's line of one order's charge once more, under another key.
    pub(super) fn copy_line(&mut self, of: &Order, key: &str) {
        let charge = of.charge();
        self.sql(
            "acquirer",
            format!(
                "INSERT INTO acquirer_lines SELECT '{key}', version, line FROM acquirer_lines \
                 WHERE idempotency_key = '{charge}'"
            ),
        );
    }

    /// Changes the bank's line of an order's charge.
    pub(super) fn line(&mut self, of: &Order, line: &str) {
        let charge = of.charge();
        self.sql("acquirer", format!("UPDATE acquirer_lines SET line = {line} WHERE idempotency_key = '{charge}'"));
    }

    /// The reservation of one order once more, with its lines.
    pub(super) fn copy_reservation(&mut self, of: &Order, to: &str, state: &str) -> String {
        let (id, from) = (self.id(), &of.reservation);
        self.sql(
            "inventory",
            format!(
                "INSERT INTO reservations SELECT '{id}', '{to}', '{state}', expires_at, created_at, changed_at, lines \
                 FROM reservations WHERE id = '{from}'"
            ),
        );
        id
    }

    /// Puts a confirmed order back to where its saga has just begun, in the order store alone.
    pub(super) fn unsettle(&mut self, order: &Order) {
        let Order { id, saga, .. } = order;
        self.sql(
            "order",
            format!(
                "UPDATE orders SET status = 'pending', version = 1, payment_id = NULL, reservation_id = NULL, settled_at = NULL, \
                 events = json_remove(events, '$[1]') WHERE id = '{id}'"
            ),
        );
        self.restart_saga(saga);
    }

    /// Puts a finished saga back to its beginning.
    pub(super) fn restart_saga(&mut self, saga: &str) {
        self.sql(
            "order",
            format!(
                "UPDATE sagas SET status = 'running', finished_at = NULL, seq = 0, step = NULL, events = NULL WHERE id = '{saga}'"
            ),
        );
    }
}
