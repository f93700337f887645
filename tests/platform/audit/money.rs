//! Payments that are wrong by themselves, for their orders, and at the bank.

use amends::audit::laws::Law;

use super::plan::{Order, Plan};

pub(super) fn plant(plan: &mut Plan) {
    of_orders(plan);
    by_themselves(plan);
    at_the_bank(plan);
}

fn of_orders(plan: &mut Plan) {
    let (model, twice) = (plan.confirmed(), plan.confirmed());
    plan.copy_payment(&twice.clone(), &twice.id);
    plan.expect(twice.id, Law::ChargedTwice);

    let unpaid = plan.confirmed();
    plan.sql("payment", format!("DELETE FROM payments WHERE order_id = '{}'", unpaid.id));
    plan.sql("acquirer", format!("DELETE FROM acquirer_lines WHERE idempotency_key = '{}'", unpaid.charge()));
    plan.expect(unpaid.id, Law::NotCharged);

    let amount = plan.confirmed();
    plan.document(&amount, "'$.captured_minor', document ->> '$.captured_minor' - 1");
    plan.line(&amount, "json_set(line, '$.amount.amount_minor', 1849)");
    plan.expect(amount.id, Law::WrongAmount);

    let currency = plan.confirmed();
    plan.document(&currency, "'$.currency', 'USD'");
    plan.line(&currency, "json_set(line, '$.amount.currency', 'USD')");
    plan.expect(currency.id, Law::WrongCurrency);

    let for_nothing = plan.declined();
    plan.copy_payment(&model, &for_nothing.id);
    plan.expect(for_nothing.id, Law::ChargedForNothing);

    let undecided = plan.refunded();
    let pending = "'$.status', 'pending', '$.captured_minor', 0, '$.refunded_minor', 0, '$.refunds', json('[]')";
    plan.document(&undecided, pending);
    plan.sql(
        "payment",
        format!(
            "UPDATE payments SET status = 'pending', document = json_remove(document, '$.receipt', '$.captured_at') \
             WHERE order_id = '{}'",
            undecided.id
        ),
    );
    plan.expect(undecided.id, Law::PaymentUndecided);

    let open = plan.refunded();
    plan.sql(
        "payment",
        format!("UPDATE payments SET document = json_remove(document, '$.closed_at') WHERE order_id = '{}'", open.id),
    );
    plan.expect(open.id, Law::ChargeNotClosed);

    let nobodys = plan.id();
    plan.copy_payment(&model, &nobodys);
    plan.expect(nobodys, Law::OrphanPayment);

    let (named, other) = (plan.confirmed(), plan.id());
    plan.sql("order", format!("UPDATE orders SET payment_id = '{other}' WHERE id = '{}'", named.id));
    plan.sql(
        "order",
        format!("UPDATE orders SET events = replace(events, '{}', '{other}') WHERE id = '{}'", named.payment, named.id),
    );
    plan.expect(named.id, Law::OrderNamesOtherPayment);

    let others = plan.confirmed();
    plan.document(&others, "'$.customer_id', 'another'");
    plan.expect(others.id, Law::PaymentOfOtherCustomer);
}

fn by_themselves(plan: &mut Plan) {
    // The bank cannot agree with that and be right.
    let over = plan.refunded();
    let more = "document ->> '$.amount_minor' + 100";
    plan.document(&over, &format!("'$.refunded_minor', {more}, '$.refunds[0].amount_minor', {more}"));
    plan.expect(over.id.clone(), Law::OverRefunded);
    plan.expect(over.id, Law::BankAmountDiffers);

    let sum = plan.refunded();
    plan.document(&sum, "'$.refunds[0].amount_minor', document ->> '$.amount_minor' - 1");
    plan.line(&sum, "json_set(line, '$.refunds[0].amount.amount_minor', 3199)");
    plan.expect(sum.id, Law::RefundsNotSum);

    for (law, changes) in
        [(Law::PaymentMalformed, "'$.status', 'refunded'"), (Law::PaymentUnreadable, "'$.fingerprint', 'none'")]
    {
        let order = plan.confirmed();
        plan.document(&order, changes);
        plan.expect(order.id, law);
    }

    let registered = plan.refunded();
    plan.sql("payment", format!("DELETE FROM payment_effect_keys WHERE step_key = '{}'", registered.charge()));
    plan.expect(registered.id, Law::EffectKeyDiffers);

    plan.one(Law::WebhookUnfounded, "payment", |order| {
        let Order { id, payment, .. } = order;
        format!(
            "INSERT INTO webhook_deliveries (delivery_id, event_id, endpoint, kind, payment_id, order_id, body, created_at, began_at, \
             state, due_at, leased, attempts, tries, done_at) VALUES ('{payment}_1/shop', '{payment}_1', 'shop', 'payment.declined', \
             '{payment}', '{id}', 'x', 1, 1, 'delivered', 1, 0, 1, 1, 1)"
        )
    });
}

fn at_the_bank(plan: &mut Plan) {
    let model = plan.confirmed();
    let fresh = |plan: &mut Plan| format!("{}/charge_payment", plan.id());

    let unknown = fresh(plan);
    plan.copy_line(&model, &unknown);
    plan.expect(format!("key {unknown}"), Law::BankCaptureUnknown);

    plan.one(Law::BankCaptureMissing, "acquirer", |order| {
        format!("DELETE FROM acquirer_lines WHERE idempotency_key = '{}'", order.charge())
    });

    let amount = plan.confirmed();
    plan.line(&amount, "json_set(line, '$.amount.amount_minor', 1849)");
    plan.expect(amount.id, Law::BankAmountDiffers);

    let generous = plan.confirmed();
    let refund =
        r#"[{"key":"0198c0de-0000-7000-8000-000000000000/refund","amount":{"amount_minor":1,"currency":"EUR"}}]"#;
    plan.line(&generous, &format!("json_set(line, '$.refunds', json('{refund}'))"));
    plan.expect(generous.id, Law::BankRefundUnknown);

    let kept = plan.refunded();
    plan.line(&kept, "json_set(line, '$.refunds', json('[]'))");
    plan.expect(kept.id, Law::BankRefundMissing);

    let receipt = plan.confirmed();
    plan.document(&receipt, "'$.receipt', 'another'");
    plan.expect(receipt.id, Law::BankReceiptDiffers);

    let line = |key: &str, line: &str| {
        format!("INSERT INTO acquirer_lines (idempotency_key, version, line) VALUES ('{key}', 1, '{line}')")
    };
    let held = fresh(plan);
    plan.sql(
        "acquirer",
        line(&held, r#"{"fate":"held","amount":{"amount_minor":5,"currency":"EUR"},"method":"pm_ok"}"#),
    );
    plan.expect(format!("key {held}"), Law::BankHoldUnknown);

    let nonsense = fresh(plan);
    plan.sql("acquirer", line(&nonsense, "nonsense"));
    plan.expect(format!("key {nonsense}"), Law::BankStatementMalformed);
}
