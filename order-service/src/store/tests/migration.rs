//! A store that an older version wrote, opened by this one.

use super::*;

/// What the version before this one wrote: lines, keys and events in tables of their own.
pub(super) async fn an_old_store_keeps_its_lines_keys_and_events(database: Database) {
    let old = Schema { component: SCHEMA.component, migrations: &SCHEMA.migrations[..1] };
    database.migrate(&old).await.unwrap();
    let (first, second) = (start(1, "o'neill"), start(2, "demo"));
    let execute = async |sql: String| {
        sqlx::query(AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
    };
    for (start, status, version) in [(&first, "confirmed", 2), (&second, "pending", 1)] {
        let head = &start.order.head;
        let customer = head.customer.as_str().replace('\'', "''");
        let (id, saga, key, begun) = (head.id, head.saga, start.key.as_str(), at(0).as_micros());
        let settled = match version {
            1 => "NULL, NULL, NULL".to_owned(),
            _ => format!("'{}', '{}', {}", receipt().payment, receipt().reservation, at(5).as_micros()),
        };
        let updated = if version == 1 { begun } else { at(5).as_micros() };
        execute(format!(
            "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, saga_id, idempotency_key,
                trace_id, created_at, updated_at, payment_id, reservation_id, settled_at)
             VALUES ('{id}', '{customer}', '{status}', {version}, 'EUR', 5550, 'pm_ok', '{saga}', '{key}', '{}', {begun}, {updated},
                {settled})",
            head.trace_id
        ))
        .await;
        execute(format!("INSERT INTO order_lines VALUES ('{id}', 2, 'ant', 1, 1850), ('{id}', 1, 'zebra', 2, 1850)"))
            .await;
        let (print, expires) = (start.fingerprint.as_str(), start.key_expires_at.as_micros());
        execute(format!("INSERT INTO idempotency_keys VALUES ('{customer}', '{key}', '{print}', '{id}', {expires})"))
            .await;
        let subject =
            |version, at| Subject { id, version, customer: head.customer.as_str().to_owned(), total: head.total, at };
        let confirmed = Event::Confirmed { receipt: receipt(), at: at(5) };
        for (subject, event) in [(subject(2, at(5)), &confirmed), (subject(1, at(0)), &start.placed)] {
            if subject.version <= version {
                let payload = payload_of(&subject, event).to_string().replace('\'', "''");
                let (version, kind, at) = (subject.version, event.kind(), subject.at.as_micros());
                execute(format!("INSERT INTO outbox VALUES ('{id}', {version}, '{kind}', '{payload}', {at})")).await;
            }
        }
    }
    // Its claim has been swept, and so have its events.
    execute(format!(
        "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, saga_id, idempotency_key,
            trace_id, created_at, updated_at, failure_code, failure_message, settled_at)
         VALUES ('{}', 'demo', 'failed', 2, 'EUR', 5550, 'pm_ok', '{}', 'k2', '', 1, 1, 'internal', 'no', 1)",
        id(3),
        id(1003)
    ))
    .await;
    execute(format!("INSERT INTO order_lines VALUES ('{}', 1, 'ant', 3, 1850)", id(3))).await;

    for schema in build::schemas() {
        database.migrate(&schema).await.unwrap();
    }
    let world = World::new(database);
    let confirmed = State::Confirmed { receipt: receipt(), at: at(5) };
    let expected = Order { state: confirmed, version: 2, updated_at: at(5), ..first.order.clone() };
    assert_eq!(world.order(expected.head.id).await, expected);
    assert_eq!(world.order(second.order.head.id).await, second.order);
    assert_eq!(world.order(OrderId::new(id(3))).await.head.lines.len(), 1);
    for start in [&first, &second] {
        let claim = world.store.claim(&start.order.head.customer, &start.key).await.unwrap().unwrap();
        assert_eq!((claim.order, claim.fingerprint), (start.order.head.id, start.fingerprint.clone()));
    }
    let again = StartOrder { key: second.key.clone(), ..start(9, "demo") };
    assert!(matches!(world.store.start(again, Arc::new(Nothing)).await.unwrap(), Started::Again(_)));
    let events: Vec<(String, i64, String, i64)> =
        sqlx::query_as("SELECT order_id, order_version, kind, created_at FROM outbox ORDER BY order_id, order_version")
            .fetch_all(world.database.reader())
            .await
            .unwrap();
    let event = |start: &StartOrder, version, kind: &str, at: Timestamp| {
        (start.order.head.id.to_string(), version, kind.to_owned(), at.as_micros())
    };
    assert_eq!(
        events,
        [
            event(&first, 1, "order_placed", at(0)),
            event(&first, 2, "order_confirmed", at(5)),
            event(&second, 1, "order_placed", at(0)),
        ]
    );
    let (breaches, _) = audit::payloads_after(&world.database, "", 10).await.unwrap();
    assert_eq!(breaches, []);
    for check in checks::OF_ORDERS.into_iter().chain([checks::EVENT_UNFOUNDED, checks::TWO_ORDERS_UNDER_ONE_KEY]) {
        assert_eq!(world.database.breaches(&check, &Slice::whole(), 0).await.unwrap(), [], "{}", check.code);
    }
    // Its next event comes after those of the old store.
    let _ = world.change(expected.head.id, Command::Ship, false).await.unwrap();
    assert_eq!(world.count("outbox").await, 4);
}
