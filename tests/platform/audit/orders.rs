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
    let twice = |column: &str| format!("{column} = replace({column}, '\"quantity\":1', '\"quantity\":2')");
    plan.sql("order", format!("UPDATE orders SET {}, {} WHERE id = '{}'", twice("lines"), twice("events"), lines.id));
    plan.expect(lines.id, Law::TotalNotSumOfLines);

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
    plan.sql(
        "order",
        format!(
            "UPDATE orders SET key_fingerprint = NULL, key_expires_at = NULL, \
             idempotency_key = (SELECT idempotency_key FROM orders WHERE id = '{}') WHERE id = '{}'",
            first.id, second.id
        ),
    );
    plan.expect(second.id, Law::TwoOrdersUnderOneKey);

    plan.one(Law::KeyMissing, "order", |order| {
        format!("UPDATE orders SET key_fingerprint = NULL, key_expires_at = NULL WHERE id = '{}'", order.id)
    });

    // As if the key had not been given back.
    let failed = plan.declined();
    let away = "'payment_declined', 'dependency_unavailable'";
    plan.sql(
        "order",
        format!(
            "UPDATE orders SET failure_code = replace(failure_code, {away}), events = replace(events, {away}) WHERE id = '{}'",
            failed.id
        ),
    );
    plan.expect(failed.id, Law::KeyNamesOtherOrder);
}

fn outbox(plan: &mut Plan) {
    plan.one(Law::OutboxEventMissing, "order", |order| {
        format!("UPDATE orders SET events = json_remove(events, '$[1]') WHERE id = '{}'", order.id)
    });
    plan.one(Law::OutboxEventUnfounded, "order", |order| {
        let shipped = r#"{"at":1,"kind":"order_shipped","payload":{},"version":3}"#;
        format!("UPDATE orders SET events = json_insert(events, '$[#]', json('{shipped}')) WHERE id = '{}'", order.id)
    });
    plan.one(Law::OutboxPayloadDiffers, "order", |order| {
        let changed = "json_set(events, '$[1].payload.total.amount_minor', 1)";
        format!("UPDATE orders SET events = {changed} WHERE id = '{}'", order.id)
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
