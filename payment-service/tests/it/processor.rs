//! What every processor must do, whatever is behind the port: one list of cases, run on the simulation in this process and on
//! an acquirer over HTTP.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use payment_service::{
    domain::{DeclineReason, PaymentMethod, RefundKey, StepKey},
    processor::{
        AuthorizeOutcome, CaptureAsk, CaptureOutcome, ChargeAsk, ChargeOutcome, PaymentProcessor, RefundAsk,
        RefundOutcome, Unknown, VoidOutcome,
        http::HttpProcessor,
        simulated::{SimulatedProcessor, SqlLedger},
    },
};

use crate::{
    bank::Bank,
    support::{Place, REPEATS, eur, rounds, rules, saga, step, their_key},
};

/// A processor, and its books to check against.
struct Desk {
    processor: Arc<dyn PaymentProcessor>,
    ledger: SqlLedger,
    behind: Behind,
}

enum Behind {
    Place(Place),
    Bank(Box<Bank>),
}

impl Desk {
    async fn simulated(place: Place) -> Self {
        let ledger = place.ledger().await;
        let processor = Arc::new(SimulatedProcessor::new(ledger.clone(), rules()));
        Self { processor, ledger, behind: Behind::Place(place) }
    }

    fn over_http(bank: Bank) -> Self {
        // Generous, as the ledger writes on a busy machine.
        let config =
            payment_service::config::HttpProcessorConfig { attempt_timeout_ms: 20_000, ..bank.client_config() };
        let processor = Arc::new(HttpProcessor::new(&config, Duration::from_secs(20)).unwrap());
        Self { processor, ledger: bank.ledger.clone(), behind: Behind::Bank(Box::new(bank)) }
    }

    /// The processor is started again, on the books it had.
    async fn restarted(self) -> Self {
        match self.behind {
            Behind::Place(place) => Self::simulated(place).await,
            Behind::Bank(mut bank) => {
                bank.start_again().await;
                Self { ledger: bank.ledger.clone(), behind: Behind::Bank(bank), ..self }
            }
        }
    }

    async fn clean(self) {
        if let Behind::Place(place) = self.behind {
            place.clean().await;
        }
    }

    /// Held, taken and given back under a key.
    async fn books(&self, key: &StepKey) -> (i64, i64, i64) {
        let entry = self.ledger.load(&their_key(key)).await.unwrap();
        entry.map_or((0, 0, 0), |entry| (entry.held_minor(), entry.taken_minor(), entry.given_back_minor()))
    }

    async fn authorize(&self, ask: &ChargeAsk) {
        assert!(matches!(self.processor.authorize(ask).await, AuthorizeOutcome::Authorized { .. }), "{ask:?}");
    }

    /// `REPEATS` times at once; every answer.
    async fn repeat<T: Send + 'static>(
        &self,
        call: impl Fn(Arc<dyn PaymentProcessor>) -> futures::future::BoxFuture<'static, T>,
    ) -> Vec<T> {
        let calls: Vec<_> = (0..REPEATS).map(|_| tokio::spawn(call(Arc::clone(&self.processor)))).collect();
        join_all(calls).await.into_iter().map(Result::unwrap).collect()
    }
}

macro_rules! on_every_processor {
    ($($case:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::support::sqlite().await.unwrap();
                super::$case(super::Desk::simulated(place).await).await;
            })+
        }
        mod over_http {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Desk::over_http(crate::bank::Bank::open().await)).await;
            })+
        }
    };
}

on_every_processor![
    repeats_of_a_key_are_one_movement_and_one_answer,
    a_void_before_its_charge_is_a_tombstone,
    a_void_racing_its_charge_agrees_with_it,
    a_key_is_of_one_request,
    declines_have_reasons_and_last,
    refunds_never_exceed_what_was_captured,
    a_capture_takes_what_is_held_and_no_more,
    an_answer_that_never_comes_is_learnt_by_asking_with_the_key,
    a_flaky_processor_charges_once,
    a_restart_forgets_nothing,
];

fn ask(minor: i64, method: &str) -> ChargeAsk {
    let method = PaymentMethod::try_new(method).unwrap();
    ChargeAsk { key: step(saga(), "charge_payment"), amount: eur(minor), method }
}

fn capture_of(ask: &ChargeAsk, minor: i64) -> CaptureAsk {
    CaptureAsk { key: step(saga(), "capture_payment"), authorization: ask.key.clone(), amount: eur(minor) }
}

fn refund_of(ask: &ChargeAsk, minor: i64) -> RefundAsk {
    let key = RefundKey::Step(step(saga(), "refund_payment"));
    RefundAsk { key, charge: ask.key.clone(), amount: eur(minor) }
}

/// All of them are equal, and this is it.
fn one<T: PartialEq + std::fmt::Debug>(answers: Vec<T>) -> T {
    let mut answers = answers.into_iter();
    let first = answers.next().unwrap();
    answers.for_each(|answer| assert_eq!(answer, first));
    first
}

async fn repeats_of_a_key_are_one_movement_and_one_answer(desk: Desk) {
    let charge = ask(500, "pm_ok");
    let asked = charge.clone();
    let answers = desk.repeat(move |it| {
        let ask = asked.clone();
        Box::pin(async move { it.charge(&ask).await })
    });
    assert!(matches!(one(answers.await), ChargeOutcome::Captured { amount, .. } if amount == eur(500)));
    let refund = refund_of(&charge, 200);
    let answers = desk.repeat(move |it| {
        let ask = refund.clone();
        Box::pin(async move { it.refund(&ask).await })
    });
    assert!(matches!(one(answers.await), RefundOutcome::Refunded { .. }));
    assert_eq!(desk.books(&charge.key).await, (0, 500, 200));

    let hold = ask(500, "pm_ok");
    let asked = hold.clone();
    let answers = desk.repeat(move |it| {
        let ask = asked.clone();
        Box::pin(async move { it.authorize(&ask).await })
    });
    assert!(matches!(one(answers.await), AuthorizeOutcome::Authorized { amount, .. } if amount == eur(500)));
    let capture = capture_of(&hold, 300);
    let answers = desk.repeat(move |it| {
        let ask = capture.clone();
        Box::pin(async move { it.capture(&ask).await })
    });
    assert!(matches!(one(answers.await), CaptureOutcome::Captured { amount, .. } if amount == eur(300)));
    assert_eq!(desk.books(&hold.key).await, (0, 300, 0));
    if let Behind::Bank(bank) = &desk.behind {
        let statement = bank.statement().await;
        assert_eq!(statement[&charge.key.to_string()], (500, 200));
        assert_eq!((statement[&hold.key.to_string()], statement.len()), ((300, 0), 2));
    }
    desk.clean().await;
}

async fn a_void_before_its_charge_is_a_tombstone(desk: Desk) {
    let charge = ask(500, "pm_ok");
    for _ in 0..2 {
        assert_eq!(desk.processor.void(&charge.key).await, VoidOutcome::Voided);
    }
    assert_eq!(desk.processor.charge(&charge).await, ChargeOutcome::KeyVoided);
    assert_eq!(desk.processor.authorize(&charge).await, AuthorizeOutcome::KeyVoided);
    assert_eq!(desk.processor.capture(&capture_of(&charge, 1)).await, CaptureOutcome::KeyVoided);
    assert_eq!(desk.processor.refund(&refund_of(&charge, 1)).await, RefundOutcome::Refused);
    assert_eq!(desk.books(&charge.key).await, (0, 0, 0));
    desk.clean().await;
}

async fn a_void_racing_its_charge_agrees_with_it(desk: Desk) {
    for _ in 0..rounds() * 5 {
        let charge = ask(500, "pm_ok");
        let (taken, voided) = tokio::join!(desk.processor.charge(&charge), desk.processor.void(&charge.key));
        match (&taken, &voided) {
            (ChargeOutcome::KeyVoided, VoidOutcome::Voided) => assert_eq!(desk.books(&charge.key).await, (0, 0, 0)),
            (
                ChargeOutcome::Captured { amount, receipt },
                VoidOutcome::WasCaptured { amount: learnt, receipt: told },
            ) => {
                assert_eq!((amount, receipt), (learnt, told));
                assert_eq!(desk.books(&charge.key).await, (0, 500, 0));
            }
            other => panic!("they do not agree: {other:?}"),
        }
    }
    desk.clean().await;
}

async fn a_key_is_of_one_request(desk: Desk) {
    let charge = ask(500, "pm_ok");
    let first = desk.processor.charge(&charge).await;
    let others = [
        ChargeAsk { amount: eur(501), ..charge.clone() },
        ChargeAsk { method: PaymentMethod::try_new("pm_flaky").unwrap(), ..charge.clone() },
    ];
    for other in &others {
        assert_eq!(desk.processor.charge(other).await, ChargeOutcome::Unknown(Unknown::Failed), "{other:?}");
    }
    assert_eq!(desk.processor.authorize(&charge).await, AuthorizeOutcome::Unknown(Unknown::Failed));
    let refund = refund_of(&charge, 100);
    assert!(matches!(desk.processor.refund(&refund).await, RefundOutcome::Refunded { .. }));
    let other = RefundAsk { amount: eur(101), ..refund };
    assert_eq!(desk.processor.refund(&other).await, RefundOutcome::Refused);
    assert_eq!(desk.processor.charge(&charge).await, first);
    assert_eq!(desk.books(&charge.key).await, (0, 500, 100));
    desk.clean().await;
}

async fn declines_have_reasons_and_last(desk: Desk) {
    for (method, minor, reason) in [
        ("pm_declined", 1, DeclineReason::Declined),
        ("pm_nobody_knows", 1, DeclineReason::Declined),
        ("pm_insufficient_funds", 1, DeclineReason::InsufficientFunds),
        ("pm_ok", 100_000, DeclineReason::AmountLimitExceeded),
    ] {
        let (charge, hold) = (ask(minor, method), ask(minor, method));
        for _ in 0..2 {
            assert_eq!(desk.processor.charge(&charge).await, ChargeOutcome::Declined(reason), "{method}");
            assert_eq!(desk.processor.authorize(&hold).await, AuthorizeOutcome::Declined(reason), "{method}");
        }
        assert_eq!(desk.processor.void(&charge.key).await, VoidOutcome::WasDeclined(reason));
        assert_eq!(desk.books(&charge.key).await, (0, 0, 0));
    }
    desk.clean().await;
}

async fn refunds_never_exceed_what_was_captured(desk: Desk) {
    let charge = ask(500, "pm_ok");
    assert_eq!(desk.processor.refund(&refund_of(&charge, 1)).await, RefundOutcome::Refused, "nothing was taken yet");
    desk.processor.charge(&charge).await;
    assert_eq!(desk.processor.refund(&refund_of(&charge, 501)).await, RefundOutcome::Refused);
    for _ in 0..rounds() {
        let charge = ask(500, "pm_ok");
        desk.processor.charge(&charge).await;
        let refunds: Vec<_> = (0..16).map(|_| refund_of(&charge, 90)).collect();
        let answers = join_all(refunds.iter().map(|refund| desk.processor.refund(refund))).await;
        let done = answers.iter().filter(|answer| matches!(answer, RefundOutcome::Refunded { .. })).count();
        let refused = answers.iter().filter(|answer| **answer == RefundOutcome::Refused).count();
        assert_eq!((done, refused), (5, 11), "{answers:?}");
        assert_eq!(desk.books(&charge.key).await, (0, 500, 450));
    }
    desk.clean().await;
}

async fn a_capture_takes_what_is_held_and_no_more(desk: Desk) {
    let hold = ask(500, "pm_ok");
    assert_eq!(desk.processor.capture(&capture_of(&hold, 1)).await, CaptureOutcome::Refused, "nothing is held yet");
    desk.authorize(&hold).await;
    assert_eq!(desk.processor.capture(&capture_of(&hold, 501)).await, CaptureOutcome::Refused);
    assert_eq!(desk.books(&hold.key).await, (500, 0, 0));
    let capture = capture_of(&hold, 300);
    assert!(
        matches!(desk.processor.capture(&capture).await, CaptureOutcome::Captured { amount, .. } if amount == eur(300))
    );
    assert_eq!(desk.processor.capture(&capture_of(&hold, 1)).await, CaptureOutcome::Refused, "once per authorization");
    assert!(
        matches!(desk.processor.void(&hold.key).await, VoidOutcome::WasCaptured { amount, .. } if amount == eur(300))
    );
    assert_eq!(desk.books(&hold.key).await, (0, 300, 0));

    let expired = ask(500, "pm_capture_refused");
    desk.authorize(&expired).await;
    assert_eq!(desk.processor.capture(&capture_of(&expired, 500)).await, CaptureOutcome::Refused);
    assert_eq!(desk.processor.void(&expired.key).await, VoidOutcome::Voided);
    assert_eq!(desk.books(&expired.key).await, (0, 0, 0));
    desk.clean().await;
}

async fn an_answer_that_never_comes_is_learnt_by_asking_with_the_key(desk: Desk) {
    let charge = ask(500, "pm_timeout");
    let patience = Duration::from_millis(200);
    let mut tries = 0;
    // At first the impatience may cut the ledger's own write off; that is unknown as well.
    while desk.books(&charge.key).await == (0, 0, 0) {
        assert!(tokio::time::timeout(patience, desk.processor.charge(&charge)).await.is_err(), "it was answered");
        tries += 1;
        assert!(tries < 100, "it never took effect");
    }
    assert!(tokio::time::timeout(patience, desk.processor.charge(&charge)).await.is_err(), "it was answered");
    let learnt = desk.processor.void(&charge.key).await;
    assert!(matches!(learnt, VoidOutcome::WasCaptured { amount, .. } if amount == eur(500)), "{learnt:?}");
    assert_eq!(desk.books(&charge.key).await, (0, 500, 0), "and taken once");
    desk.clean().await;
}

async fn a_flaky_processor_charges_once(desk: Desk) {
    let charge = ask(500, "pm_flaky");
    let mut outcome = desk.processor.charge(&charge).await;
    if outcome == ChargeOutcome::Unknown(Unknown::Failed) {
        outcome = desk.processor.charge(&charge).await;
    }
    assert!(matches!(outcome, ChargeOutcome::Captured { .. }), "{outcome:?}");
    assert_eq!(desk.processor.charge(&charge).await, outcome);
    assert_eq!(desk.books(&charge.key).await, (0, 500, 0));
    desk.clean().await;
}

async fn a_restart_forgets_nothing(desk: Desk) {
    let (charge, hold, dead) = (ask(500, "pm_ok"), ask(500, "pm_ok"), ask(500, "pm_ok"));
    let (refund, capture) = (refund_of(&charge, 100), capture_of(&hold, 300));
    let taken = desk.processor.charge(&charge).await;
    let given_back = desk.processor.refund(&refund).await;
    desk.authorize(&hold).await;
    let captured = desk.processor.capture(&capture).await;
    assert_eq!(desk.processor.void(&dead.key).await, VoidOutcome::Voided);

    let desk = desk.restarted().await;
    assert_eq!(desk.processor.charge(&charge).await, taken);
    assert_eq!(desk.processor.refund(&refund).await, given_back);
    assert_eq!(desk.processor.capture(&capture).await, captured);
    assert_eq!(desk.processor.charge(&dead).await, ChargeOutcome::KeyVoided);
    assert_eq!(desk.books(&charge.key).await, (0, 500, 100));
    assert_eq!(desk.books(&hold.key).await, (0, 300, 0));
    desk.clean().await;
}
