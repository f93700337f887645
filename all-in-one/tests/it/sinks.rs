//! Standard output and standard error that are not read, closed, or full.

use std::{fs::File, io::pipe, process::Stdio};

use crate::program::Program;

/// Enough lines to fill a pipe and the queue before it several times.
const CHATTY: [&str; 2] = ["telemetry.filter=debug", "telemetry.log_queue_max=64"];

#[tokio::test]
async fn an_unread_pipe_costs_lines_but_no_orders() {
    let (reader, writer) = pipe().unwrap();
    let shop = Program::start(writer.try_clone().unwrap(), writer, &CHATTY).await;
    // Twelve were answered when callers wrote to the pipe themselves.
    for number in 0..40 {
        shop.order(&format!("unread-{number}")).await;
    }
    assert!(shop.metric("log_console_dropped_total").await > 0.0);
    shop.signal("TERM").await;
    assert_eq!(shop.ended().await.code(), Some(0));
    drop(reader);
}

#[tokio::test]
async fn a_closed_pipe_or_a_full_disk_costs_lines_only() {
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let pairs: [(Stdio, Stdio); 2] =
        [(closed.try_clone().unwrap().into(), closed.into()), (full.try_clone().unwrap().into(), full.into())];
    for (out, err) in pairs {
        let shop = Program::start(out, err, &[]).await;
        shop.order("one").await;
        assert!(shop.metric("log_console_dropped_total").await > 0.0);
        shop.signal("TERM").await;
        assert_eq!(shop.ended().await.code(), Some(0));
    }
}
