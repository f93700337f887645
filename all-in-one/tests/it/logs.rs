//! An order's lines: shipped, kept, and asked for; and sinks that take none.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use amends::client::order_of;
use serde_json::Value;
use tokio::process::Command;

use crate::program::{PATIENCE, Program};

/// Places an order, and gives its id, trace and correlation.
async fn placed(shop: &Program, key: &str) -> (String, String, String) {
    let order = order_of("espresso-1kg", 1, "pm_ok");
    let answer = shop.customer.place(key, &order);
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("it answers").unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    let correlation = answer.header("x-correlation-id").to_owned();
    (answer.text("/id").to_owned(), answer.text("/trace_id").to_owned(), correlation)
}

fn is(line: &Value, member: &str, value: &str) -> bool {
    line[member] == value
}

#[tokio::test]
async fn a_confirmed_order_has_its_whole_story_in_the_log() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let logstash = format!("telemetry.logstash={}", sink.local_addr().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(sink.accept().unwrap().0).lines();
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).collect::<Vec<_>>()
    });
    let shop = Program::start(Stdio::null(), Stdio::null(), &[&logstash]).await;
    let (order, trace, correlation) = placed(&shop, "story").await;

    // As an operator asks who has no log store.
    let url = format!("http://{}", shop.admin);
    let asked = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(["logs", &order, "--json", "--url", &url])
        .output()
        .await
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let kept: Vec<Value> =
        String::from_utf8(asked.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<&str> = kept.iter().filter_map(|line| line["msg"].as_str()).collect();
    for message in ["accepted", "step done", "step answered", "settled"] {
        assert!(messages.contains(&message), "{message} is not in {messages:?}");
    }

    shop.signal("TERM").await;
    assert_eq!(shop.ended().await.code(), Some(0));
    let shipped = reader.join().unwrap();
    let of_order: Vec<&Value> = shipped.iter().filter(|line| is(line, "order_id", &order)).collect();
    assert!(of_order.len() >= 9, "{of_order:#?}");
    for line in &of_order {
        assert!(is(line, "trace_id", &trace) && is(line, "correlation_id", &correlation), "{line}");
        assert!(line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
    }
    let told = |message: &str| of_order.iter().filter(|line| is(line, "message", message)).count();
    // Each once: the start, three participants' steps and one of our own, what the participants say of theirs, the end, the answer.
    let counts = ["accepted", "step done", "step answered", "settled", "answering", "request"].map(told);
    assert_eq!(counts, [1, 4, 3, 1, 1, 1], "{of_order:#?}");
}

#[tokio::test]
async fn a_stuck_sink_does_not_hold_the_end() {
    // Accepts by its backlog, and never reads.
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let logstash = format!("telemetry.logstash={}", sink.local_addr().unwrap());
    let more = [&*logstash, "telemetry.filter=trace", "telemetry.logstash_queue_max=64"];
    let shop = Program::start(Stdio::null(), Stdio::null(), &more).await;
    for number in 0..20 {
        placed(&shop, &format!("stuck-{number}")).await;
    }
    let began = Instant::now();
    shop.signal("TERM").await;
    assert_eq!(shop.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(sink);
}
