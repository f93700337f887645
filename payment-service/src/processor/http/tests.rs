//! What comes back from a network, and what may be concluded from it. A listener plays the acquirer, byte by byte.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amends_primitives::{Currency, Money, SagaId, SeededIds};
use service_base::context::RequestContext;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

use super::*;
use crate::domain::{PaymentMethod, RefundKey};

const SECRET: &str = "hunter2-hunter2-hunter2";

/// Answers the n-th request with the n-th text, and the last for ever; an empty text closes the connection. Counts requests.
struct Script {
    processor: HttpProcessor,
    asked: Arc<AtomicUsize>,
    /// The head and body of the last request.
    last: Arc<Mutex<String>>,
}

impl Script {
    async fn of(answers: &[&str], timeout_ms: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = HttpProcessorConfig {
            url: format!("http://{}", listener.local_addr().unwrap()),
            secret: SECRET.into(),
            attempt_timeout_ms: timeout_ms,
            ..HttpProcessorConfig::default()
        };
        let (asked, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let (count, heard) = (Arc::clone(&asked), Arc::clone(&last));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone(), Arc::clone(&count), Arc::clone(&heard)));
            }
        });
        let processor = HttpProcessor::new(&config, Duration::from_millis(timeout_ms)).unwrap();
        Self { processor, asked, last }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answers: Vec<String>, count: Arc<AtomicUsize>, heard: Arc<Mutex<String>>) {
    loop {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"}") {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        *heard.lock().unwrap() = String::from_utf8(request).unwrap();
        let index = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        if answers[index].is_empty() {
            return;
        }
        if answers[index] == "silence" {
            std::future::pending::<()>().await;
        }
        let _ = stream.write_all(answers[index].as_bytes()).await;
        if !answers[index].contains("Content-Length: ") || answers[index].contains("cut short") {
            return;
        }
    }
}

fn step(name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(7)), name).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn ask() -> ChargeAsk {
    ChargeAsk { key: step("charge"), amount: eur(500), method: PaymentMethod::try_new("pm_ok").unwrap() }
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn captured(key: &str, minor: i64, state: &str) -> String {
    answer(
        200,
        &format!(
            r#"{{"key":"{key}","state":"{state}","amount":{{"amount_minor":{minor},"currency":"EUR"}},"receipt":"r","new":1}}"#
        ),
    )
}

fn good() -> String {
    captured(&step("charge").to_string(), 500, "captured")
}

fn done() -> ChargeOutcome {
    ChargeOutcome::Captured { amount: eur(500), receipt: Receipt::new("r") }
}

#[tokio::test]
async fn nothing_is_concluded_from_what_is_not_an_answer() {
    let (key, other) = (step("charge").to_string(), step("other").to_string());
    let long = answer(200, &format!("{}{{}}", " ".repeat(65 * 1024)));
    for (bad, asked) in [
        (String::new(), 3),
        (answer(500, ""), 3),
        (answer(502, "<html>"), 3),
        (answer(503, ""), 3),
        (answer(408, ""), 3),
        (answer(200, ""), 3),
        (answer(200, "<html>"), 3),
        (answer(200, "{}"), 3),
        ("HTTP/1.1 200 X\r\nContent-Length: 400\r\n\r\n{\"cut short".to_owned(), 3),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"key".to_owned(), 3),
        ("nonsense\r\n\r\n".to_owned(), 3),
        (long, 3),
        (captured(&other, 500, "captured"), 3),
        (captured(&key, 499, "captured"), 3),
        (captured(&key, 500, "authorized"), 3),
        // Asking again does not help: an operator must look.
        (answer(301, ""), 1),
        (answer(400, r#"{"code":"bad_request"}"#), 1),
        (answer(401, r#"{"code":"unauthenticated"}"#), 1),
        (answer(402, "<html>"), 1),
        (answer(402, r#"{"code":"key_voided"}"#), 1),
        (answer(404, ""), 1),
        (answer(422, r#"{"code":"invalid_request"}"#), 1),
        (answer(201, &captured(&key, 500, "captured")), 1),
    ] {
        let script = Script::of(&[&bad], 5_000).await;
        let outcome = script.processor.charge(&ask()).await;
        assert_eq!(outcome, ChargeOutcome::Unknown(Unknown::Failed), "{bad}");
        assert_eq!(script.asked(), asked, "{bad}");
    }
}

#[tokio::test]
async fn a_question_in_doubt_is_asked_again_under_its_key() {
    for bad in [String::new(), answer(503, ""), answer(200, "<html>")] {
        let script = Script::of(&[&bad, &good()], 5_000).await;
        assert_eq!(script.processor.charge(&ask()).await, done(), "{bad}");
        let last = script.last.lock().unwrap().to_lowercase();
        assert!(last.starts_with("post /v1/charges http/1.1\r\n"), "{last}");
        assert!(last.contains(&format!("idempotency-key: {}\r\n", step("charge"))), "{last}");
        assert!(last.contains(&format!("authorization: bearer {SECRET}\r\n")), "{last}");
        assert_eq!(script.asked(), 2);
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let decline = |code: &str| answer(402, &format!(r#"{{"code":"payment_declined","decline_code":"{code}"}}"#));
    for (bad, outcome) in [
        (decline("declined"), ChargeOutcome::Declined(DeclineReason::Declined)),
        (decline("insufficient_funds"), ChargeOutcome::Declined(DeclineReason::InsufficientFunds)),
        (decline("amount_limit_exceeded"), ChargeOutcome::Declined(DeclineReason::AmountLimitExceeded)),
        (decline("a_new_one"), ChargeOutcome::Declined(DeclineReason::Declined)),
        (answer(409, r#"{"code":"key_voided"}"#), ChargeOutcome::KeyVoided),
        (answer(422, r#"{"code":"idempotency_key_reused"}"#), ChargeOutcome::Unknown(Unknown::Failed)),
    ] {
        let script = Script::of(&[&bad], 5_000).await;
        assert_eq!((script.processor.charge(&ask()).await, script.asked()), (outcome, 1), "{bad}");
    }
    let (capture, refund) = (
        CaptureAsk { key: step("capture"), authorization: step("charge"), amount: eur(5) },
        RefundAsk { key: RefundKey::Undo(step("charge")), charge: step("charge"), amount: eur(5) },
    );
    for (code, status, captured, refunded) in [
        ("capture_refused", 409, CaptureOutcome::Refused, RefundOutcome::Unknown(Unknown::Failed)),
        ("refund_refused", 409, CaptureOutcome::Unknown(Unknown::Failed), RefundOutcome::Refused),
        ("key_voided", 409, CaptureOutcome::KeyVoided, RefundOutcome::Unknown(Unknown::Failed)),
        ("idempotency_key_reused", 422, CaptureOutcome::Refused, RefundOutcome::Refused),
    ] {
        let script = Script::of(&[&answer(status, &format!(r#"{{"code":"{code}"}}"#))], 5_000).await;
        assert_eq!(script.processor.capture(&capture).await, captured, "{code}");
        assert_eq!(script.processor.refund(&refund).await, refunded, "{code}");
    }
}

#[tokio::test]
async fn a_void_learns_what_became_of_the_key() {
    let key = step("charge").to_string();
    let plain = |state: &str| answer(200, &format!(r#"{{"key":"{key}","state":"{state}","decline_code":"declined"}}"#));
    for (text, outcome) in [
        (plain("voided"), VoidOutcome::Voided),
        (plain("declined"), VoidOutcome::WasDeclined(DeclineReason::Declined)),
        (good(), VoidOutcome::WasCaptured { amount: eur(500), receipt: Receipt::new("r") }),
        (captured(&key, 0, "captured"), VoidOutcome::Unknown(Unknown::Failed)),
        (captured(&step("other").to_string(), 500, "captured"), VoidOutcome::Unknown(Unknown::Failed)),
        (plain("captured"), VoidOutcome::Unknown(Unknown::Failed)),
        (plain("whatever"), VoidOutcome::Unknown(Unknown::Failed)),
    ] {
        let script = Script::of(&[&text], 5_000).await;
        assert_eq!(script.processor.void(&step("charge")).await, outcome, "{text}");
    }
}

#[tokio::test]
async fn a_requested_retry_after_is_respected() {
    let busy = |status: u16| format!("HTTP/1.1 {status} X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
    for status in [429, 503] {
        let script = Script::of(&[&busy(status), &good()], 5_000).await;
        let begun = Instant::now();
        assert_eq!(script.processor.charge(&ask()).await, done());
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        // No time to wait: the caller is told when.
        let script = Script::of(&[&busy(status)], 500).await;
        let told = ChargeOutcome::Unknown(Unknown::Busy { retry_after: Duration::from_secs(1) });
        assert_eq!((script.processor.charge(&ask()).await, script.asked()), (told, 1));
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_is_not_a_no() {
    let script = Script::of(&["silence"], 300).await;
    let begun = Instant::now();
    assert_eq!(script.processor.charge(&ask()).await, ChargeOutcome::Unknown(Unknown::TimedOut));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // There is no listener.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = HttpProcessorConfig {
        url: format!("http://{address}"),
        secret: SECRET.into(),
        ..HttpProcessorConfig::default()
    };
    let unreachable = HttpProcessor::new(&config, Duration::from_secs(5)).unwrap();
    assert_eq!(unreachable.charge(&ask()).await, ChargeOutcome::Unknown(Unknown::Failed));
    assert!(!format!("{unreachable:?} {config:?}").contains("hunter2"));
}

#[tokio::test]
async fn correlation_trace_and_deadline_reach_the_acquirer() {
    let context = RequestContext::fresh(&SeededIds::new(1));
    let script = Script::of(&[&good()], 5_000).await;
    assert_eq!(context.clone().scope(script.processor.charge(&ask())).await, done());
    let last = script.last.lock().unwrap().to_lowercase();
    assert!(last.contains(&format!("x-correlation-id: {}\r\n", context.correlation)), "{last}");
    assert!(last.contains(&format!("traceparent: 00-{}-", context.trace_id())), "{last}");

    let script = Script::of(&["silence"], 60_000).await;
    let begun = Instant::now();
    let mut hurried = context;
    hurried.deadline = Some(tokio::time::Instant::now() + Duration::from_millis(200));
    let outcome = hurried.scope(script.processor.charge(&ask())).await;
    assert_eq!(outcome, ChargeOutcome::Unknown(Unknown::TimedOut));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
