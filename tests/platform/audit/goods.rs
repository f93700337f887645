//! Stock, reservations and steps that are wrong by themselves and for their orders.

use amends::audit::laws::Law;

use super::plan::Plan;

pub(super) fn plant(plan: &mut Plan) {
    of_orders(plan);
    by_themselves(plan);
    steps(plan);
}

fn of_orders(plan: &mut Plan) {
    plan.one(Law::GoodsNotCommitted, "inventory", |order| {
        format!("UPDATE reservations SET state = 'restocked' WHERE order_id = '{}'", order.id)
    });

    let twice = plan.confirmed();
    plan.copy_reservation(&twice.clone(), &twice.id, "committed");
    plan.expect(twice.id, Law::GoodsCommittedTwice);

    // Undone orders that keep goods: as if the step that reserved had never been compensated.
    for (state, law) in [("committed", Law::GoodsKept), ("held", Law::GoodsHeld)] {
        let order = plan.declined();
        plan.sql("inventory", format!("UPDATE reservations SET state = '{state}' WHERE order_id = '{}'", order.id));
        let step = format!("{}/reserve_stock", order.saga);
        plan.sql("inventory", format!("UPDATE saga_barrier SET state = 'done' WHERE step_key = '{step}'"));
        plan.expect(order.id, law);
    }
    plan.sql("inventory", "UPDATE items SET reserved = reserved + 1 WHERE sku = 'case-declined'");

    let (model, nobodys) = (plan.confirmed(), plan.id());
    plan.copy_reservation(&model, &nobodys, "committed");
    plan.expect(nobodys, Law::OrphanReservation);

    plan.one(Law::GoodsDifferFromOrder, "inventory", |order| {
        let twice = r#"replace(lines, '"quantity":1', '"quantity":2')"#;
        format!("UPDATE reservations SET lines = {twice} WHERE id = '{}'", order.reservation)
    });

    // The order and the step agree on a reservation that is not the one with the goods.
    let named = plan.confirmed();
    let other = plan.copy_reservation(&named.clone(), &named.id, "restocked");
    plan.sql("order", format!("UPDATE orders SET reservation_id = '{other}' WHERE id = '{}'", named.id));
    plan.sql(
        "order",
        format!(
            "UPDATE orders SET events = replace(events, '{}', '{other}') WHERE id = '{}'",
            named.reservation, named.id
        ),
    );
    plan.sql(
        "inventory",
        format!(
            "UPDATE saga_barrier SET answer = '{{\"reservation\":\"{other}\"}}' WHERE step_key = '{}/commit_stock'",
            named.saga
        ),
    );
    plan.expect(named.id, Law::OrderNamesOtherReservation);

    plan.one(Law::StepAndOrderDiffer, "inventory", |order| {
        format!("DELETE FROM saga_barrier WHERE step_key = '{}/commit_stock'", order.saga)
    });
}

fn by_themselves(plan: &mut Plan) {
    let item = |sku: &str, on_hand: i64, reserved: i64| {
        format!(
            "INSERT INTO items (sku, name, price_minor, currency, on_hand, reserved, updated_at) \
             VALUES ('{sku}', 'Planted', 1, 'EUR', {on_hand}, {reserved}, 1)"
        )
    };
    plan.sql("inventory", item("planted-reserved", 10, 3));
    plan.expect("item planted-reserved", Law::ReservedNotSumOfHeld);
    plan.sql("inventory", item("planted-below-zero", -1, 0));
    plan.expect("item planted-below-zero", Law::StockOutOfBounds);

    let empty = plan.id();
    plan.one(Law::ReservationMalformed, "inventory", |order| {
        format!("INSERT INTO reservations VALUES ('{empty}', '{}', 'released', 1, 1, 1, '[]')", order.id)
    });

    // Of an order that is still on its way, with a sweeper that sleeps.
    let overdue = plan.confirmed();
    plan.unsettle(&overdue);
    plan.sql(
        "inventory",
        format!(
            "UPDATE reservations SET state = 'held', expires_at = changed_at - 7200000000 WHERE order_id = '{}'",
            overdue.id
        ),
    );
    plan.sql("inventory", format!("DELETE FROM saga_barrier WHERE step_key = '{}/commit_stock'", overdue.saga));
    plan.sql("inventory", "UPDATE items SET reserved = reserved + 1 WHERE sku = 'case-confirmed'");
    plan.expect(overdue.id, Law::ReservationOverdue);
}

fn steps(plan: &mut Plan) {
    let step = |key: &str, state: &str, answer: &str| {
        format!("INSERT INTO saga_barrier VALUES ('{key}', '{state}', 'f', {answer}, 1, 1)")
    };
    let open = format!("{}/reserve_stock", plan.id());
    plan.sql("inventory", step(&open, "open", "NULL"));
    plan.expect(format!("step {open}"), Law::StepLeftOpen);

    let (done, nothing) = (format!("{}/commit_stock", plan.id()), plan.id());
    plan.sql("inventory", step(&done, "done", &format!("'{{\"reservation\":\"{nothing}\"}}'")));
    plan.expect(format!("step {done}"), Law::StepAndGoodsDiffer);
}
