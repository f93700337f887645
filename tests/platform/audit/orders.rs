//! Orders, idempotency keys, outbox and journal that do not add up.

use amends::audit::laws::Law;

use super::plan::Plan;

pub(super) fn plant(plan: &mut Plan) {
    rows(plan);
    keys(plan);
    outbox(plan);
    sagas(plan);
    journal(plan);
}

fn rows(plan: &mut Plan) {
    // Twice as many as were paid for, and both customer and participants were told so.
    let lines = plan.declined();
    plan.sql("order", format!("UPDATE order_lines SET quantity = 2 WHERE order_id = '{}'", lines.id));
    plan.sql(
        "order",
        format!(
            "UPDATE outbox SET payload = replace(payload, '\"quantity\":1', '\"quantity\":2') WHERE order_id = '{}'",
            lines.id
        ),
    );
    plan.expect(lines.id, Law::TotalNotSumOfLines);

    let nobodys = plan.id();
    plan.sql("order", format!("INSERT INTO order_lines VALUES ('{nobodys}', 1, 'case-confirmed', 1, 1850)"));
    plan.expect(nobodys, Law::LinesWithoutOrder);

    let malformed = plan.declined();
    plan.sql(
        "order",
        format!("UPDATE orders SET reservation_id = '{}' WHERE id = '{}'", malformed.reservation, malformed.id),
    );
    plan.expect(malformed.id, Law::OrderMalformed);
}

fn keys(plan: &mut Plan) {
    // Both confirmed, paid and delivered; and no trace of a second key.
    let (one, other) = (plan.confirmed(), plan.confirmed());
    let (first, second) =
        if (one.placed_at, &one.id) < (other.placed_at, &other.id) { (one, other) } else { (other, one) };
    plan.sql("order", format!("DELETE FROM idempotency_keys WHERE order_id = '{}'", second.id));
    plan.sql(
        "order",
        format!(
            "UPDATE orders SET idempotency_key = (SELECT idempotency_key FROM orders WHERE id = '{}') WHERE id = '{}'",
            first.id, second.id
        ),
    );
    plan.expect(second.id, Law::TwoOrdersUnderOneKey);

    plan.one(Law::KeyMissing, "order", |order| format!("DELETE FROM idempotency_keys WHERE order_id = '{}'", order.id));

    let (order, other) = (plan.confirmed(), plan.id());
    plan.sql("order", format!("UPDATE idempotency_keys SET order_id = '{other}' WHERE order_id = '{}'", order.id));
    plan.expect(other, Law::KeyNamesOtherOrder);
}

fn outbox(plan: &mut Plan) {
    plan.one(Law::OutboxEventMissing, "order", |order| {
        format!("DELETE FROM outbox WHERE order_id = '{}' AND order_version = 2", order.id)
    });
    plan.one(Law::OutboxEventUnfounded, "order", |order| {
        format!("INSERT INTO outbox VALUES ('{}', 3, 'order_shipped', '{{}}', 1)", order.id)
    });
    plan.one(Law::OutboxPayloadDiffers, "order", |order| {
        format!(
            "UPDATE outbox SET payload = replace(payload, '1850', '1') WHERE order_id = '{}' AND order_version = 2",
            order.id
        )
    });
}

fn sagas(plan: &mut Plan) {
    let parked = plan.confirmed();
    plan.unsettle(&parked);
    let cause = r#"{"code":"timeout","message":"no answer"}"#;
    plan.sql(
        "order",
        format!(
            "UPDATE sagas SET status = 'parked', parked = '{cause}', seq = 1, owner = NULL, \
             events = '[{{\"at\":1,\"event\":\"parked.v1\",\"cause\":{cause}}}]' WHERE id = '{}'",
            parked.saga
        ),
    );
    plan.expect(parked.id, Law::SagaParked);

    let stuck = plan.confirmed();
    plan.unsettle(&stuck);
    plan.sql("order", format!("UPDATE orders SET updated_at = 0 WHERE id = '{}'", stuck.id));
    plan.sql("order", format!("UPDATE sagas SET updated_at = 0 WHERE id = '{}'", stuck.saga));
    plan.expect(stuck.id, Law::SagaStuck);

    // A participant has been away for as long, and a replica goes on asking: nothing to report.
    let waiting = plan.confirmed();
    plan.unsettle(&waiting);
    plan.sql("order", format!("UPDATE orders SET updated_at = 0 WHERE id = '{}'", waiting.id));

    let missing = plan.confirmed();
    plan.sql("order", format!("DELETE FROM sagas WHERE id = '{}'", missing.saga));
    plan.expect(missing.id, Law::SagaMissing);

    let differ = plan.confirmed();
    plan.restart_saga(&differ.saga);
    plan.expect(differ.id, Law::OrderAndSagaDiffer);

    let (model, saga, nobodys) = (plan.confirmed(), plan.id(), plan.id());
    plan.sql(
        "order",
        format!(
            "INSERT INTO sagas SELECT '{saga}', definition, version, '{nobodys}', status, step, input, traceparent, failure, parked, \
             request, seq, fence, owner, wake_at, created_at, updated_at, finished_at, events FROM sagas WHERE id = '{}'",
            model.saga
        ),
    );
    plan.expect(nobodys, Law::OrphanSaga);
}

fn journal(plan: &mut Plan) {
    plan.one(Law::SagaMalformed, "order", |order| {
        format!("UPDATE sagas SET finished_at = NULL WHERE id = '{}'", order.saga)
    });

    let nobodys = plan.id();
    plan.sql("order", format!("INSERT INTO saga_entries VALUES ('{nobodys}', 1, '[]')"));
    plan.expect(format!("saga {nobodys}"), Law::EventsWithoutSaga);

    plan.one(Law::JournalBroken, "order", |order| {
        format!("UPDATE sagas SET seq = seq + 1 WHERE id = '{}'", order.saga)
    });
}
